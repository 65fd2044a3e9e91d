#include "launcher/launcher.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iterator>

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

constexpr const char* kInit = "/aegis/bin/init";

/// What a Spawn brought along.
struct Order {
    launch::Spawn spawn;
    RootPlan root;
    os::Fd control;
    os::Fd cgroup;
};

Order takeOrder(launch::Spawn spawn, std::vector<os::Fd> fds) {
    Order order;
    auto next = fds.begin();
    order.root.image = std::move(*next++);
    order.root.bin = std::move(*next++);
    order.root.run = std::move(*next++);
    order.control = std::move(*next++);
    if (spawn.into_cgroup) order.cgroup = std::move(*next++);
    order.root.mount_trees.assign(std::make_move_iterator(next),
                                  std::make_move_iterator(fds.end()));
    order.root.mounts = spawn.mounts;
    order.root.tmp_bytes = spawn.tmp_bytes;
    order.spawn = std::move(spawn);
    return order;
}

std::vector<WritablePlace> writablePlaces(const launch::Spawn& spawn) {
    std::vector<WritablePlace> out{{"/dev", true}};
    if (spawn.tmp_bytes > 0) out.push_back({"/tmp", true});
    for (const auto& mount : spawn.mounts)
        if (mount.writable) out.push_back({mount.target, mount.directory});
    return out;
}

/// Waits for one byte; false at the end of the stream.
bool awaitByte(int fd, char expected) {
    char byte = 0;
    ssize_t n = 0;
    do {
        n = ::read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1 && byte == expected;
}

/// The new process, up to the exec that does not return.
Status becomeGuest(Order& order, int mapped) {
    if (!awaitByte(mapped, launch::kGo)) return {ErrorCode::kInternal, "no identity was given"};
    ::setsid();
    AEGIS_CHECK(setLimits());
    AEGIS_CHECK(becomeOwner());
    AEGIS_CHECK(nameAndRaise());
    auto writable = writablePlaces(order.spawn);
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
        const char* const argv[] = {kInit, nullptr};
        const char* const env[] = {"HOME=/tmp", nullptr};
        ::execve(kInit, const_cast<char* const*>(argv), const_cast<char* const*>(env));
        ::_exit(127);
    }
    (void)os::writeAll(order.control.get(), launch::kFailed + status.error().message);
    ::_exit(126);
}

/// Makes the process. Its end of the control pair stays with it alone.
Result<Clone> spawn(Order order, const std::string& filter) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) return errnoError(errno, "pipe");
    os::Fd reader(ends[0]), writer(ends[1]);
    AEGIS_TRY(Clone made, cloneIntoNamespaces(order.cgroup ? order.cgroup.get() : -1));
    if (made.pid == 0) {
        writer.reset();
        childMain(order, reader.get(), filter);
    }
    // Closing the pipe without a word ends the process.
    AEGIS_CHECK(mapIdentity(made.pid));
    AEGIS_CHECK(os::writeAll(writer.get(), {&launch::kGo, 1}));
    return made;
}

Status reply(int socket, const launch::Reply& message, std::span<const int> fds = {}) {
    AEGIS_TRY(const auto bytes, launch::encode(message));
    return os::sendWithFds(socket, bytes, fds, Deadline::never());
}

Status handle(int socket, launch::Request request, std::vector<os::Fd> fds, std::string& filter) {
    if (auto* configure = std::get_if<launch::Configure>(&request)) {
        if (!fds.empty()) return {ErrorCode::kInvalid, "descriptors that nobody asked for"};
        filter = std::move(configure->seccomp);
        return reply(socket, launch::Configured{static_cast<std::uint32_t>(landlockAbi())});
    }
    auto& wanted = std::get<launch::Spawn>(request);
    if (filter.empty() || fds.size() != launch::fdCount(wanted))
        return {ErrorCode::kInvalid, "a spawn without what it needs"};
    const auto token = wanted.token;
    auto made = spawn(takeOrder(std::move(wanted), std::move(fds)), filter);
    if (!made) return reply(socket, launch::SpawnFailed{token, 0, made.error().message});
    const int pidfd = made->pidfd.get();
    return reply(socket, launch::Spawned{token, static_cast<std::uint32_t>(made->pid)},
                 {&pidfd, 1});
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
        if (!handle(socket, std::move(*request), std::move(message->fds), filter)) return 1;
    }
}

}  // namespace aegis::launcher
