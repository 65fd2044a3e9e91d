#include "launcher/launcher.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <iterator>

#include "launcher/become.h"
#include "launcher/confine.h"
#include "launcher/landlock.h"
#include "launcher/namespaces.h"
#include "launcher/rootfs.h"
#include "os/files.h"
#include "os/socket.h"
#include "proto/launch.h"

namespace aegis::launcher {
namespace {

namespace launch = proto::launch;

constexpr std::size_t kMapStack = 64 << 10;

/// What a Spawn brought along.
struct Order {
    launch::Spawn spawn;
    RootPlan root;
    os::Fd control;
    os::Fd cgroup;
    std::vector<os::Fd> doors;
};

using NextFd = std::vector<os::Fd>::iterator;

void takeEntrance(Order& order, const launch::Entrance& entrance, NextFd& next) {
    if (entrance.directory) order.cgroup = std::move(*next++);
    for (int i = 0; i < entrance.doors; ++i)
        order.doors.push_back(std::move(*next++));
}

Order takeOrder(launch::Spawn spawn, std::vector<os::Fd> fds) {
    Order order;
    auto next = fds.begin();
    order.root.image = std::move(*next++);
    order.root.bin = std::move(*next++);
    order.root.run = std::move(*next++);
    order.control = std::move(*next++);
    takeEntrance(order, spawn.entrance, next);
    order.root.mount_trees.assign(std::make_move_iterator(next),
                                  std::make_move_iterator(fds.end()));
    order.root.mounts = spawn.mounts;
    order.root.tmp_bytes = spawn.tmp_bytes;
    order.spawn = std::move(spawn);
    return order;
}

/// In its cgroup, with its ids.
Status begin(Order& order, int mapped) {
    AEGIS_CHECK(enterCgroup(std::move(order.doors)));
    if (!awaitByte(mapped, launch::kGo)) return {ErrorCode::kInternal, "no identity was given"};
    ::setsid();
    return {};
}

/// The new process, up to the exec that does not return.
Status becomeGuest(Order& order, int mapped) {
    AEGIS_CHECK(begin(order, mapped));
    AEGIS_CHECK(setLimits());
    AEGIS_CHECK(becomeOwner());
    AEGIS_CHECK(nameAndRaise());
    auto writable = writablePlaces(order.spawn.mounts, order.spawn.tmp_bytes);
    AEGIS_CHECK(enterRoot(std::move(order.root)));
    AEGIS_CHECK(os::writeAll(order.control.get(), {&launch::kReady, 1}));
    if (!awaitByte(order.control.get(), launch::kGo)) ::_exit(0);
    AEGIS_CHECK(hideCgroups());
    AEGIS_CHECK(dropPrivileges());
    AEGIS_CHECK(restrictWrites(writable));
    return {};
}

[[noreturn]] void childMain(Order& order, int mapped, const std::string& filter) {
    auto status = becomeGuest(order, mapped);
    // With the last word that can be said goes the last descriptor: a failure from here on shows as
    // an end before the first message.
    if (status) status = closeDescriptors();
    if (status) status = installFilter(filter);
    if (status) {
        char* const argv[] = {const_cast<char*>(kInit), nullptr};
        ::execve(kInit, argv, kInitEnv);
        ::_exit(127);
    }
    sayFailed(order.control.get(), status.error());
    ::_exit(126);
}

/// A template, up to the exec that does not return.
Status becomeTemplate(Order& order, int mapped, const launch::SpawnTemplate& spawn) {
    AEGIS_CHECK(begin(order, mapped));
    AEGIS_CHECK(setLimits());
    AEGIS_CHECK(becomeOwner());
    shrinkConnectionTables();
    AEGIS_CHECK(enterTemplateRoot(std::move(order.root)));
    AEGIS_CHECK(os::writeAll(order.control.get(), {&launch::kReady, 1}));
    if (!awaitByte(order.control.get(), launch::kGo)) ::_exit(0);
    AEGIS_CHECK(dropPrivileges());
    AEGIS_CHECK(installFilter(spawn.seccomp));
    if (::dup2(order.control.get(), launch::kTemplateFd) < 0) return errnoError(errno, "dup2");
    // The pair itself goes with the rest; dup2 of a descriptor onto itself would keep CLOEXEC.
    ::fcntl(launch::kTemplateFd, F_SETFD, 0);
    return closeDescriptors(launch::kTemplateFd + 1);
}

[[noreturn]] void templateMain(Order& order, int mapped, const launch::SpawnTemplate& spawn) {
    auto words = [](const std::vector<std::string>& from) {
        std::vector<char*> out;
        for (const auto& word : from)
            out.push_back(const_cast<char*>(word.c_str()));
        out.push_back(nullptr);
        return out;
    };
    auto argv = words(spawn.argv);
    auto env = words(spawn.env);
    if (auto status = becomeTemplate(order, mapped, spawn); !status) {
        sayFailed(order.control.get(), status.error());
        ::_exit(126);
    }
    ::environ = env.data();  // of which execvp() takes PATH
    ::execvp(argv[0], argv.data());
    ::_exit(127);
}

/// Makes a process in fresh namespaces that goes on in `main`, which does not return, with the
/// descriptor that tells it that its ids are mapped.
template <class Main>
Result<Clone> makeProcess(int cgroup, bool doors, Main main) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) return errnoError(errno, "pipe");
    os::Fd reader(ends[0]), writer(ends[1]);
    AEGIS_TRY(Clone made, cloneIntoNamespaces(cgroup));
    if (made.pid == 0) {
        writer.reset();
        main(reader.get());
    }
    // Closing the pipe without a word ends the process.
    AEGIS_CHECK(mapIdentity(made.pid, doors));
    AEGIS_CHECK(os::writeAll(writer.get(), {&launch::kGo, 1}));
    return made;
}

struct Mapping {
    int template_pidfd;
    launch::MapStem request;
    Status result = Error(ErrorCode::kUnavailable, "whoever was to map them died");
};

int mapMain(void* what) {
    auto* mapping = static_cast<Mapping*>(what);
    const auto& [token, stem, door] = mapping->request;
    mapping->result = mapStem(mapping->template_pidfd, static_cast<pid_t>(stem), door);
    return 0;
}

/// In a process of its own, as it cannot come back from the template's namespace; in this one's
/// memory, which waits until it has ended, as a copy takes longer than the rest.
Status mapInChild(int template_pidfd, const launch::MapStem& request) {
    alignas(16) static std::array<char, kMapStack> stack;
    Mapping mapping{template_pidfd, request};
    if (::clone(mapMain, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, &mapping) <
        0)
        return errnoError(errno, "clone");
    if (!mapping.result) return std::move(mapping.result.error()).within("a stem's ids");
    return {};
}

Status reply(int socket, const launch::Reply& message, std::span<const int> fds = {}) {
    AEGIS_TRY(const auto bytes, launch::encode(message));
    return os::sendWithFds(socket, bytes, fds, Deadline::never());
}

Status replyMade(int socket, std::uint64_t token, const Result<Clone>& made) {
    if (!made) return reply(socket, launch::SpawnFailed{token, 0, made.error().message});
    const int pidfd = made->pidfd.get();
    return reply(socket, launch::Spawned{token, static_cast<std::uint32_t>(made->pid)},
                 {&pidfd, 1});
}

Status handle(int socket, launch::Configure request, std::vector<os::Fd> fds, std::string& filter) {
    if (!fds.empty()) return {ErrorCode::kInvalid, "descriptors that nobody asked for"};
    filter = std::move(request.seccomp);
    return reply(socket, launch::Configured{static_cast<std::uint32_t>(landlockAbi())});
}

Status handle(int socket, launch::Spawn request, std::vector<os::Fd> fds, std::string& filter) {
    if (filter.empty() || fds.size() != launch::fdCount(request))
        return {ErrorCode::kInvalid, "a spawn without what it needs"};
    const auto token = request.token;
    Order order = takeOrder(std::move(request), std::move(fds));
    auto made = makeProcess(order.cgroup ? order.cgroup.get() : -1, false,
                            [&](int mapped) { childMain(order, mapped, filter); });
    return replyMade(socket, token, made);
}

Status handle(int socket, launch::SpawnTemplate request, std::vector<os::Fd> fds, std::string&) {
    if (fds.size() != launch::fdCount(request))
        return {ErrorCode::kInvalid, "a template without what it needs"};
    Order order;
    auto next = fds.begin();
    order.root.image = std::move(*next++);
    order.root.bin = std::move(*next++);
    order.control = std::move(*next++);
    takeEntrance(order, request.entrance, next);
    const bool doors = request.entrance.doors > 0;
    auto made = makeProcess(order.cgroup ? order.cgroup.get() : -1, doors,
                            [&](int mapped) { templateMain(order, mapped, request); });
    return replyMade(socket, request.token, made);
}

Status handle(int socket, launch::MapStem request, std::vector<os::Fd> fds, std::string&) {
    if (fds.size() != 1 || request.pid == 0)
        return {ErrorCode::kInvalid, "a stem without its template"};
    auto mapped = mapInChild(fds[0].get(), request);
    if (!mapped)
        return reply(socket, launch::SpawnFailed{request.token, 0, mapped.error().message});
    return reply(socket, launch::StemMapped{request.token});
}

/// Nothing of this process may stay open in a child but what it is given; and children are nobody's
/// to wait for: whoever has the pidfd sees them end.
void settle() {
    ::prctl(PR_SET_NAME, "aegis-launcher");
    ::prctl(PR_SET_DUMPABLE, 0);
    ::umask(022);
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    action.sa_flags = SA_NOCLDWAIT;
    ::sigaction(SIGCHLD, &action, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
}

}  // namespace

int serve(int socket) {
    settle();
    if (auto made = home(); !made) {
        (void)reply(socket, launch::SpawnFailed{0, 0, made.error().message});
        return 3;
    }
    std::string filter;
    while (true) {
        auto message = os::recvWithFds(socket, launch::kMaxMessageBytes + 1, os::kMaxPassedFds,
                                       Deadline::never());
        if (!message) return 1;
        if (message->bytes.empty()) return 0;
        auto request = launch::parseRequest(message->bytes);
        if (!request) return 1;
        auto handled = std::visit(
            [&](auto& wanted) {
                return handle(socket, std::move(wanted), std::move(message->fds), filter);
            },
            *request);
        if (!handled) return 1;
    }
}

}  // namespace aegis::launcher
