#include "os/socket.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>

#include "base/assert.h"
#include "os/clock.h"

namespace aegis::os {
namespace {

constexpr int kStream = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

struct AddressList {
    addrinfo* list = nullptr;
    AddressList() = default;
    AddressList(const AddressList&) = delete;
    AddressList& operator=(const AddressList&) = delete;
    ~AddressList() {
        if (list != nullptr) ::freeaddrinfo(list);
    }
};

Status resolve(const std::string& host, std::uint16_t port, bool passive, AddressList& out) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
    int rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &out.list);
    if (rc == 0) return {};
    return {ErrorCode::kUnreachable, fmt::format("{}: {}", host, ::gai_strerror(rc))};
}

Result<sockaddr_un> unixAddress(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof(address.sun_path))
        return {ErrorCode::kInvalid, fmt::format("{}: a unix socket's path has 1 to {} bytes", path,
                                                 sizeof(address.sun_path) - 1)};
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

const sockaddr* generic(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

void setNoDelay(int fd) {
    int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/// A peer that vanished without a word is noticed within a minute or two, not after the kernel's
/// hours.
void setKeepAlive(int fd) {
    auto set = [fd](int level, int name, int value) {
        ::setsockopt(fd, level, name, &value, sizeof value);
    };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 15);
    set(IPPROTO_TCP, TCP_KEEPCNT, 4);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, 120'000);
}

Error unreachable(const std::string& what, int err) {
    return {ErrorCode::kUnreachable, fmt::format("{}: {}", what, std::strerror(err))};
}

/// Finishes a connect(2) that may be in progress.
Status finishConnect(int fd, const sockaddr* address, socklen_t size, const std::string& what,
                     Deadline deadline, int cancel_fd) {
    if (::connect(fd, address, size) == 0) return {};
    if (errno != EINPROGRESS && errno != EINTR) return unreachable(what, errno);
    if (auto ready = waitReady(fd, POLLOUT, deadline, cancel_fd); !ready)
        return std::move(ready.error()).within(what);
    int err = 0;
    socklen_t length = sizeof err;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &length);
    if (err != 0) return unreachable(what, err);
    return {};
}

Result<Fd> listenOn(const addrinfo& address, const std::string& what, int backlog) {
    Fd fd(::socket(address.ai_family, kStream, 0));
    if (!fd) return errnoError(errno, "socket");
    int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.ai_family == AF_INET6)
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 ||
        ::listen(fd.get(), backlog) != 0) {
        if (errno == EADDRINUSE)
            return {ErrorCode::kConflict, fmt::format("{}: the address is in use", what)};
        return errnoError(errno, what);
    }
    return fd;
}

/// Removes a socket file that nobody listens on any more.
Status clearStale(const std::string& path, const sockaddr_un& address) {
    struct stat st{};
    if (::lstat(path.c_str(), &st) != 0)
        return errno == ENOENT ? Status{} : Status{errnoError(errno, path)};
    if (!S_ISSOCK(st.st_mode))
        return {ErrorCode::kConflict, fmt::format("{}: exists and is no socket", path)};
    Fd probe(::socket(AF_UNIX, kStream, 0));
    if (!probe) return errnoError(errno, "socket");
    // A full backlog answers EAGAIN: somebody is there, only busy.
    if (::connect(probe.get(), generic(address), sizeof address) == 0 || errno != ECONNREFUSED)
        return {ErrorCode::kConflict, fmt::format("{}: somebody listens on it", path)};
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return errnoError(errno, path);
    return {};
}

}  // namespace

Result<Fd> listenTcp(const std::string& host, std::uint16_t port, int backlog) {
    AddressList addresses;
    AEGIS_CHECK(resolve(host, port, true, addresses));
    auto what = fmt::format("{}:{}", host, port);
    Result<Fd> last = Error(ErrorCode::kUnreachable, what + ": no address");
    for (auto* a = addresses.list; a != nullptr; a = a->ai_next) {
        last = listenOn(*a, what, backlog);
        if (last) return last;
    }
    return last;
}

Result<std::uint16_t> localPort(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        return errnoError(errno, "getsockname");
    if (address.ss_family == AF_INET)
        return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
    return {ErrorCode::kInvalid, "not a TCP socket"};
}

Result<Fd> listenUnix(const std::string& path, unsigned mode, int backlog) {
    AEGIS_TRY(auto address, unixAddress(path));
    AEGIS_CHECK(clearStale(path, address));
    Fd fd(::socket(AF_UNIX, kStream, 0));
    if (!fd) return errnoError(errno, "socket");
    // The file is born with the socket's own mode (less the umask), so it is never open to more
    // than `mode`.
    if (::fchmod(fd.get(), mode) != 0) return errnoError(errno, path);
    if (::bind(fd.get(), generic(address), sizeof address) != 0) return errnoError(errno, path);
    if (::chmod(path.c_str(), mode) != 0 || ::listen(fd.get(), backlog) != 0) {
        auto error = errnoError(errno, path);
        ::unlink(path.c_str());
        return error;
    }
    return fd;
}

Result<Fd> connectTcp(const std::string& host, std::uint16_t port, Deadline deadline,
                      int cancel_fd) {
    AddressList addresses;
    AEGIS_CHECK(resolve(host, port, false, addresses));
    auto what = fmt::format("{}:{}", host, port);
    Error last(ErrorCode::kUnreachable, what + ": no address");
    for (auto* a = addresses.list; a != nullptr; a = a->ai_next) {
        Fd fd(::socket(a->ai_family, kStream, 0));
        if (!fd) {
            last = errnoError(errno, "socket");
            continue;
        }
        auto done = finishConnect(fd.get(), a->ai_addr, a->ai_addrlen, what, deadline, cancel_fd);
        if (done) {
            setNoDelay(fd.get());
            return fd;
        }
        last = std::move(done.error());
        if (last.code != ErrorCode::kUnreachable) break;
    }
    return last;
}

Result<Fd> connectUnix(const std::string& path, Deadline deadline) {
    AEGIS_TRY(auto address, unixAddress(path));
    while (true) {
        Fd fd(::socket(AF_UNIX, kStream, 0));
        if (!fd) return errnoError(errno, "socket");
        if (::connect(fd.get(), generic(address), sizeof address) == 0) return fd;
        if (errno == EACCES || errno == EPERM) return errnoError(errno, path);
        if (errno != EAGAIN) return unreachable(path, errno);
        // The backlog is full, which no poll reports for unix sockets: look again in a moment.
        if (deadline.passed(systemClock().boot()))
            return {ErrorCode::kTimeout, fmt::format("{}: does not accept", path)};
        ::poll(nullptr, 0, 2);
    }
}

Result<Fd> acceptConnection(int listen_fd) {
    Fd fd(::accept4(listen_fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
        setNoDelay(fd.get());
        setKeepAlive(fd.get());
        return fd;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return Fd{};
    return errnoError(errno, "accept");
}

Result<PeerCred> peerCred(int fd) {
    ucred cred{};
    socklen_t size = sizeof cred;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0)
        return errnoError(errno, "SO_PEERCRED");
    return PeerCred{cred.pid, cred.uid, cred.gid};
}

std::string peerName(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "unknown";
    if (address.ss_family == AF_UNIX) return "unix";
    std::array<char, INET6_ADDRSTRLEN> host{};
    std::array<char, 8> port{};
    if (::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host.data(), host.size(),
                      port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "unknown";
    bool v6 = address.ss_family == AF_INET6;
    return v6 ? fmt::format("[{}]:{}", host.data(), port.data())
              : fmt::format("{}:{}", host.data(), port.data());
}

namespace {

Result<std::pair<Fd, Fd>> pairOf(int type) {
    std::array<int, 2> fds{-1, -1};
    if (::socketpair(AF_UNIX, type, 0, fds.data()) != 0) return errnoError(errno, "socketpair");
    return std::pair<Fd, Fd>(Fd(fds[0]), Fd(fds[1]));
}

}  // namespace

Result<std::pair<Fd, Fd>> socketPair() { return pairOf(kStream); }

Result<std::pair<Fd, Fd>> messagePair() {
    return pairOf(SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK);
}

Status waitReady(int fd, short events, Deadline deadline, int cancel_fd) {
    while (true) {
        // poll(2) leaves out negative descriptors by itself.
        std::array<pollfd, 2> polled{pollfd{fd, events, 0}, pollfd{cancel_fd, POLLIN, 0}};
        auto left = deadline.leftMs(systemClock().boot());
        auto timeout =
            deadline.isNever() ? -1 : static_cast<int>(std::min<std::int64_t>(left, INT_MAX));
        int n = ::poll(polled.data(), polled.size(), timeout);
        if (n < 0 && errno != EINTR) return errnoError(errno, "poll");
        if (n > 0 && polled[1].revents != 0) return {ErrorCode::kCancelled, "cancelled"};
        if (n > 0) return {};
        if (n == 0 && left == 0) return {ErrorCode::kTimeout, "timed out"};
    }
}

Result<std::size_t> recvSome(int fd, std::span<char> out, Deadline deadline, int cancel_fd) {
    while (true) {
        ssize_t n = ::recv(fd, out.data(), out.size(), 0);
        if (n >= 0) return static_cast<std::size_t>(n);
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return errnoError(errno, "receive");
        AEGIS_CHECK(waitReady(fd, POLLIN, deadline, cancel_fd));
    }
}

Status sendAll(int fd, std::string_view head, std::string_view body, std::int64_t progress_ms,
               Deadline deadline, int cancel_fd) {
    while (!head.empty() || !body.empty()) {
        std::array<iovec, 2> parts{iovec{const_cast<char*>(head.data()), head.size()},
                                   iovec{const_cast<char*>(body.data()), body.size()}};
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = parts.size();
        ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) return errnoError(errno, "send");
        if (n < 0) {
            auto until = deadline.earlier(Deadline::in(systemClock().boot(), progress_ms));
            AEGIS_CHECK(waitReady(fd, POLLOUT, until, cancel_fd));
            continue;
        }
        auto sent = static_cast<std::size_t>(n);
        auto of_head = std::min(sent, head.size());
        head.remove_prefix(of_head);
        body.remove_prefix(sent - of_head);
    }
    return {};
}

bool peerGone(int fd) {
    pollfd polled{fd, POLLRDHUP, 0};
    return ::poll(&polled, 1, 0) > 0 && (polled.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

Status sendWithFds(int fd, std::string_view bytes, std::span<const int> fds, Deadline deadline) {
    if (bytes.empty() || fds.size() > kMaxPassedFds)
        return {ErrorCode::kInvalid, "a message has at least a byte and at most 96 descriptors"};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxPassedFds)> control{};
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    while (true) {
        ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL);
        if (n >= 0)
            return sendAll(fd, {}, bytes.substr(static_cast<std::size_t>(n)), LLONG_MAX / 2'000'000,
                           deadline);
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return errnoError(errno, "send");
        AEGIS_CHECK(waitReady(fd, POLLOUT, deadline));
    }
}

Result<MessageWithFds> recvWithFds(int fd, std::size_t max_bytes, std::size_t max_fds,
                                   Deadline deadline) {
    // Not cleared: of a large buffer, what no message fills stays untouched and costs nothing.
    const auto size = std::max<std::size_t>(max_bytes, 1);
    const auto buffer = std::make_unique_for_overwrite<char[]>(size);
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxPassedFds)> control{};
    iovec part{buffer.get(), size};
    msghdr message{};
    ssize_t n = -1;
    while (n < 0) {
        message = msghdr{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        n = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (n >= 0 || errno == EINTR) continue;
        if (errno != EAGAIN) return errnoError(errno, "receive");
        AEGIS_CHECK(waitReady(fd, POLLIN, deadline));
    }
    MessageWithFds out;
    out.bytes.assign(buffer.get(), static_cast<std::size_t>(n));
    for (auto* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
        for (std::size_t at = 0; at < h->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int received = -1;
            std::memcpy(&received, CMSG_DATA(h) + at, sizeof received);
            out.fds.emplace_back(received);
        }
    }
    if (out.fds.size() > max_fds || (message.msg_flags & MSG_CTRUNC) != 0)
        return {ErrorCode::kInvalid, "more descriptors than agreed"};
    return out;
}

}  // namespace aegis::os
