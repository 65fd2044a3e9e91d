#include "sandbox/common/ctl_channel.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "os/files.h"
#include "os/socket.h"
#include "sandbox/common/oom.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

namespace aegis::sandbox {
namespace {

constexpr std::size_t kMaxProcFile = 64 << 10;

/// Newer kernels tell the peer's pidfd itself; else the pid is looked up, which can only go wrong
/// if the peer died meanwhile (then no message of it will be believed: the connection is at its
/// end).
Result<os::Fd> peerPidfd(int connection, pid_t pid) {
    int pidfd = -1;
    socklen_t size = sizeof pidfd;
    if (::getsockopt(connection, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return os::Fd(pidfd);
    return openPidfd(pid);
}

}  // namespace

Result<os::Fd> listenCtl(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return {ErrorCode::kInvalid, path + ": too long for the path of a socket"};
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    os::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return errnoError(errno, path);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::chmod(path.c_str(), 0666) != 0 || ::listen(fd.get(), 4) != 0)
        return errnoError(errno, path);
    return fd;
}

Result<std::optional<CtlPeer>> acceptCtl(int listener) {
    CtlPeer peer;
    peer.connection.reset(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer.connection) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
            return std::optional<CtlPeer>();
        return errnoError(errno, "accept");
    }
    // A start message must fit whole, whatever the node's default is.
    const int buffer = 2 * static_cast<int>(proto::ctl::kMaxMessageBytes);
    ::setsockopt(peer.connection.get(), SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    AEGIS_TRY(const os::PeerCred credentials, os::peerCred(peer.connection.get()));
    peer.pid = credentials.pid;
    if (peer.pid <= 0)
        return {ErrorCode::kUnsupported,
                "the sandbox's processes cannot be seen: the daemon must run in the same pid "
                "namespace as Docker Engine"};
    auto pidfd = peerPidfd(peer.connection.get(), peer.pid);
    if (!pidfd) return std::optional<CtlPeer>();
    peer.pidfd = std::move(*pidfd);
    const auto proc = fmt::format("/proc/{}", peer.pid);
    const auto status = os::readFile(proc + "/status", kMaxProcFile);
    auto cgroup = os::readFile(proc + "/cgroup", kMaxProcFile);
    // What was read belongs to this process only if it is still there.
    if (!status || !cgroup || hasEnded(peer.pidfd)) return std::optional<CtlPeer>();
    peer.first_process = isFirstProcess(*status);
    peer.proc_cgroup = std::move(*cgroup);
    return std::optional<CtlPeer>(std::move(peer));
}

Result<os::Fd> openPidfd(pid_t pid) {
    os::Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!fd) {
        if (errno == ESRCH) return {ErrorCode::kNotFound, "the process has ended"};
        return errnoError(errno, "pidfd_open");
    }
    return fd;
}

bool hasEnded(const os::Fd& pidfd) {
    pollfd ready{pidfd.get(), POLLIN, 0};
    return ::poll(&ready, 1, 0) == 1;
}

Status killProcess(const os::Fd& pidfd) {
    if (::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0) == 0 || errno == ESRCH)
        return {};
    return errnoError(errno, "kill");
}

Result<std::optional<proto::ctl::GuestMessage>> receiveCtl(int connection) {
    // One byte more than a message may have shows what is too long.
    thread_local std::vector<char> buffer(proto::ctl::kMaxMessageBytes + 1);
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const auto size = ::recvmsg(connection, &message, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return std::optional<proto::ctl::GuestMessage>();
    if (size < 0) return errnoError(errno, "ctl.sock");
    // An empty datagram looks like the end; the protocol has none.
    if (size == 0) return {ErrorCode::kIo, "the sandbox's init closed its connection"};
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        return {ErrorCode::kInvalid, "the sandbox's init sent a malformed message"};
    auto parsed = proto::ctl::parseGuestMessage({buffer.data(), static_cast<std::size_t>(size)});
    if (!parsed)
        return {ErrorCode::kInvalid,
                "the sandbox's init sent a malformed message: " + parsed.error().message};
    return std::optional<proto::ctl::GuestMessage>(std::move(*parsed));
}

Status sendCtl(int connection, const std::string& message, std::span<const int> fds) {
    auto sent = os::sendWithFds(connection, message, fds, Deadline{BootTime{0}});  // never waits
    // A peer that is gone is no failure to send: the watch on its process will tell how it died.
    if (!sent && os::peerGone(connection)) return {};
    return sent;
}

}  // namespace aegis::sandbox
