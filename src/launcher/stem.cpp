#include "launcher/stem.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "launcher/become.h"
#include "launcher/confine.h"
#include "launcher/namespaces.h"
#include "launcher/rootfs.h"
#include "launcher/shared_text.h"
#include "launcher/twin.h"
#include "os/clock.h"
#include "os/files.h"
#include "os/socket.h"
#include "proto/ctl_wire.h"

namespace aegis::launcher {
namespace {

namespace launch = proto::launch;

// Where PID 1 finds what it needs of its payload, and the payload's ends until it has taken them.
constexpr int kFirstEnd = 3;
constexpr std::size_t kInitEnds = 3;
constexpr std::size_t kEnds = 6;
constexpr int kOutOfTheWay = 32;
constexpr std::int64_t kRestMs = 50;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

void resetSignal(int number, int flags) {
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    action.sa_flags = flags;
    ::sigaction(number, &action, nullptr);
}

/// Whoever came of it would end with a template that ends.
[[noreturn]] void waitForEver() {
    while (true)
        ::pause();
}

/// Both ends of the job's socket and of the pipes for stdout and stderr: PID 1's three, then the
/// payload's, at kFirstEnd and the numbers after it.
Status makeEnds() {
    std::array<int, 2> job{}, out{}, err{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, job.data()) != 0 ||
        ::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0)
        return errnoError(errno, "pipes for the payload");
    std::array<int, kEnds> ends{job[0], out[0], err[0], job[1], out[1], err[1]};
    // First out of the way of one another; close_range takes the originals later.
    for (int& end : ends) {
        end = ::fcntl(end, F_DUPFD_CLOEXEC, kOutOfTheWay);
        if (end < 0) return errnoError(errno, "pipes for the payload");
    }
    for (std::size_t i = 0; i < kEnds; ++i)
        if (::dup2(ends[i], kFirstEnd + static_cast<int>(i)) < 0)
            return errnoError(errno, "pipes for the payload");
    return {};
}

Result<launch::Finish> receiveFinish(int socket, RootPlan& plan) {
    AEGIS_TRY(auto message, os::recvWithFds(socket, launch::kMaxMessageBytes + 1, os::kMaxPassedFds,
                                            Deadline::never()));
    if (message.bytes.empty()) ::_exit(0);
    AEGIS_TRY(auto finish, launch::parseFinish(message.bytes));
    if (message.fds.size() != launch::kFinishFds)
        return {ErrorCode::kInvalid, "a stem's order without what it needs"};
    plan.run = std::move(message.fds[0]);
    plan.mounts = finish.mounts;
    plan.tmp_bytes = finish.tmp_bytes;
    return finish;
}

/// Where volumes belong may be known long before whose they are.
Status receiveMounts(int socket, const std::vector<launch::Mount>& mounts) {
    if (mounts.empty()) return {};
    AEGIS_CHECK(os::writeAll(socket, {&launch::kReady, 1}));
    AEGIS_TRY(auto message, os::recvWithFds(socket, 1, launch::kMaxMounts, Deadline::never()));
    if (message.bytes.empty()) ::_exit(0);
    if (message.bytes[0] != launch::kGo || message.fds.size() != mounts.size())
        return {ErrorCode::kInvalid, "a stem's mounts without what they need"};
    return attachMounts(mounts, message.fds);
}

/// All that a stem is before it is known for whom.
Status makeBase(int socket) {
    AEGIS_TRY(auto go, os::recvWithFds(socket, 1, launch::kMaxDoors, Deadline::never()));
    if (go.bytes.empty() || go.bytes[0] != launch::kGo) ::_exit(0);
    if (!go.fds.empty()) AEGIS_CHECK(becomeDoorUser());
    AEGIS_CHECK(enterCgroup(std::move(go.fds)));
    ::setsid();
    resetSignal(SIGCHLD, 0);
    AEGIS_CHECK(becomeOwner());
    AEGIS_CHECK(nameAndRaise());
    AEGIS_CHECK(hideCgroups());
    return os::writeAll(socket, {&launch::kReady, 1});
}

Status makeSandbox(int socket, const std::string& filter, bool& unhurried) {
    RootPlan plan;
    AEGIS_TRY(const auto finish, receiveFinish(socket, plan));
    unhurried = finish.unhurried;
    AEGIS_CHECK(enterRootFromTemplate(std::move(plan)));
    AEGIS_CHECK(receiveMounts(socket, finish.mounts));
    AEGIS_CHECK(dropPrivileges());
    AEGIS_CHECK(restrictWrites(writablePlaces(finish.mounts, finish.tmp_bytes)));
    AEGIS_CHECK(makeEnds());
    return installFilter(filter);
}

/// The payload's own descriptors, and no others.
void takeEnds() {
    ::setsid();
    // Changing users took it away, as executing a program would have given it back: a process may
    // look at itself. PID 1 stays without.
    ::prctl(PR_SET_DUMPABLE, 1);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);  // the sandbox's, not the template's
    ::dup2(null, 0);
    ::dup2(kFirstEnd + 4, 1);
    ::dup2(kFirstEnd + 5, 2);
    ::dup2(kFirstEnd + 3, proto::ctl::kJobFd);
    ::syscall(SYS_close_range, static_cast<unsigned>(proto::ctl::kJobFd) + 1, ~0U, 0U);
}

/// What a stem is at last: PID 1, with the ends of its payload's pipes.
void becomeInit(void* socket, pid_t payload, int until_exec) {
    // Right behind what PID 1 gets, so that all beyond it can be closed.
    int last = kFirstEnd + static_cast<int>(kInitEnds);
    Status status;
    if (until_exec >= 0 && ::dup3(until_exec, last++, O_CLOEXEC) < 0)
        status = errnoError(errno, "dup3");
    if (status) status = closeDescriptors(static_cast<unsigned>(last));
    if (!status) {
        sayFailed(*static_cast<int*>(socket), status.error());
        ::_exit(126);
    }
    auto pid = fmt::format("{}", payload);
    char* const argv[] = {const_cast<char*>(kInit), const_cast<char*>("/aegis/run"), pid.data(),
                          nullptr};
    ::execve(kInit, argv, kInitEnv);
    ::_exit(127);
}

/// From a clone of the template to a sandbox. Returns in the payload, which keeps the interpreter's
/// memory, whether it has time; this process becomes PID 1.
bool becomeSandbox(os::Fd socket, const std::string& filter, const ThreadRecord& thread) {
    // Beyond what makeEnds() uses.
    int high = ::fcntl(socket.get(), F_DUPFD_CLOEXEC, 2 * kOutOfTheWay);
    socket.reset(high);
    ::close(launch::kTemplateFd);
    auto status = high < 0 ? Status(errnoError(errno, "a stem's socket")) : makeBase(high);
    bool unhurried = true;
    if (status) status = makeSandbox(high, filter, unhurried);
    if (status) status = forkTwin(thread, {&high, becomeInit});
    if (status) {
        takeEnds();
        return unhurried;
    }
    sayFailed(high, status.error());
    ::_exit(126);
}

/// The filter of what becomes of stems.
Result<std::string> receiveFilter(int socket) {
    AEGIS_TRY(auto message,
              os::recvWithFds(socket, launch::kMaxMessageBytes + 1, 0, Deadline::never()));
    if (message.bytes.empty()) ::_exit(0);
    AEGIS_TRY(auto request, launch::parseRequest(message.bytes));
    auto* configure = std::get_if<launch::Configure>(&request);
    if (configure == nullptr) return {ErrorCode::kInvalid, "not what a template is told first"};
    return std::move(configure->seccomp);
}

void reply(int socket, const Result<Clone>& made) {
    if (!made) return sayFailed(socket, made.error());
    const int pidfd = made->pidfd.get();
    (void)os::sendWithFds(socket, {&launch::kReady, 1}, {&pidfd, 1}, Deadline::never());
}

}  // namespace

Result<bool> serveTemplate(int socket, const ForkHooks& hooks) {
    ::prctl(PR_SET_NAME, "aegis-template");
    const auto thread = threadRecord();
    // Stems are nobody's to wait for: whoever has the pidfd sees them end.
    resetSignal(SIGCHLD, SA_NOCLDWAIT);
    AEGIS_TRY(const auto filter, receiveFilter(socket));
    AEGIS_CHECK(os::writeAll(socket, {&launch::kReady, 1}));
    bool rested = false;
    while (true) {
        if (!rested && !os::waitReady(socket, POLLIN, inMs(kRestMs))) {
            hooks.at_rest();
            AEGIS_CHECK(shareText());
            rested = true;
        }
        auto message = os::recvWithFds(socket, 1, 1, Deadline::never());
        if (!message || message->bytes.empty()) waitForEver();
        if (message->bytes[0] != launch::kGo || message->fds.size() != 1) waitForEver();
        hooks.before();
        auto made = cloneIntoNamespaces(-1);
        if (made && made->pid == 0) {
            const bool unhurried = becomeSandbox(std::move(message->fds[0]), filter, thread);
            hooks.after_in_child();
            return unhurried;
        }
        hooks.after_in_parent();
        reply(socket, made);
    }
}

}  // namespace aegis::launcher
