#include "egress/dialer.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>

#include "os/clock.h"
#include "os/socket.h"

namespace aegis::egress {
namespace {

constexpr std::size_t kResolverThreads = 8;
constexpr std::size_t kResolverQueue = 256;
constexpr std::size_t kMaxAddresses = 64;
constexpr std::size_t kMaxTried = 3;

Result<std::vector<IpAddress>> lookUp(const std::string& name) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* list = nullptr;
    int rc = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
    if (rc != 0) return {ErrorCode::kUnreachable, ::gai_strerror(rc)};
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, &::freeaddrinfo);
    std::vector<IpAddress> out;
    for (auto* a = list; a != nullptr; a = a->ai_next) {
        IpAddress address;
        if (a->ai_family == AF_INET) {
            const auto* in = reinterpret_cast<const sockaddr_in*>(a->ai_addr);
            address = IpAddress::fromV4(reinterpret_cast<const std::uint8_t*>(&in->sin_addr));
        } else if (a->ai_family == AF_INET6) {
            const auto* in = reinterpret_cast<const sockaddr_in6*>(a->ai_addr);
            std::memcpy(address.bytes.data(), &in->sin6_addr, address.bytes.size());
        } else {
            continue;
        }
        if (std::ranges::find(out, address) == out.end()) out.push_back(address);
    }
    if (out.empty()) return {ErrorCode::kUnreachable, "the name has no address"};
    // One that is not looked at could not be checked.
    if (out.size() > kMaxAddresses)
        return {ErrorCode::kUnreachable, "the name has too many addresses"};
    return out;
}

/// Between the one who waits and the pool's thread, whichever is there last.
struct Question {
    std::mutex mutex;
    Result<std::vector<IpAddress>> answer = Error(ErrorCode::kInternal, "not answered");
    os::EventFd answered;
};

Result<os::Fd> connectTo(const IpAddress& address, std::uint16_t port, Deadline deadline,
                         int cancel_fd) {
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.bytes.data() + 12, 4);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address.bytes.data(), address.bytes.size());
    const bool is_v4 = address.isV4();
    os::Fd fd(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return errnoError(errno, "socket");
    const auto* generic =
        is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
    const socklen_t size = is_v4 ? sizeof v4 : sizeof v6;
    int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd.get(), generic, size) == 0) return fd;
    if (errno != EINPROGRESS && errno != EINTR)
        return {ErrorCode::kUnreachable, std::strerror(errno)};
    AEGIS_CHECK(os::waitReady(fd.get(), POLLOUT, deadline, cancel_fd));
    int err = 0;
    socklen_t length = sizeof err;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &err, &length);
    if (err != 0) return {ErrorCode::kUnreachable, std::strerror(err)};
    return fd;
}

}  // namespace

Result<std::vector<IpAddress>> SystemResolver::resolve(const std::string& name, Deadline deadline,
                                                       int cancel_fd) {
    std::call_once(made_, [this] {
        pool_ = std::make_unique<os::WorkerPool>(kResolverThreads, kResolverQueue);
    });
    // shared_ptr: the pool's thread may come back after the deadline.
    auto question = std::make_shared<Question>();
    bool taken = pool_->submit([question, name] {
        auto answer = lookUp(name);
        std::lock_guard lock(question->mutex);
        question->answer = std::move(answer);
        question->answered.signal();
    });
    if (!taken) return {ErrorCode::kTooMany, "too many names are being resolved"};
    AEGIS_CHECK(os::waitReady(question->answered.fd(), POLLIN, deadline, cancel_fd));
    std::lock_guard lock(question->mutex);
    return std::move(question->answer);
}

Result<std::vector<IpAddress>> Dialer::check(const Policy& policy, const Authority& to,
                                             Deadline deadline, int cancel_fd) {
    auto verdict = policy.named(to.host, to.port);
    if (!verdict.allowed) return {ErrorCode::kPermissionDenied, verdict.reason};
    std::vector<IpAddress> addresses;
    if (to.host.literal) {
        addresses.push_back(*to.host.literal);
    } else {
        AEGIS_TRY(addresses, resolver_.resolve(to.host.text, deadline, cancel_fd));
    }
    for (const auto& address : addresses) {
        auto after = policy.resolved(address, to.port);
        if (!after.allowed) return {ErrorCode::kPermissionDenied, after.reason};
        auto refusal = access_.refusal(to.host, address);
        if (!refusal.empty()) return {ErrorCode::kPermissionDenied, refusal};
    }
    return addresses;
}

Result<Dialed> Dialer::dial(const Policy& policy, const Authority& to, Deadline deadline,
                            int cancel_fd) {
    AEGIS_TRY(auto addresses, check(policy, to, deadline, cancel_fd));
    Error last(ErrorCode::kUnreachable, "no address");
    const auto tries = std::min(addresses.size(), kMaxTried);
    for (std::size_t i = 0; i < tries; ++i) {
        const auto now = os::systemClock().boot();
        const auto share = deadline.leftMs(now) / static_cast<std::int64_t>(tries - i);
        auto until = deadline.earlier(Deadline::in(now, std::min<std::int64_t>(share, 60'000)));
        auto fd = connectTo(addresses[i], to.port, until, cancel_fd);
        if (fd) return Dialed{std::move(*fd), addresses[i]};
        last = std::move(fd.error());
        if (last.code == ErrorCode::kCancelled) break;
    }
    return last;
}

}  // namespace aegis::egress
