#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <initializer_list>

#include "sys.h"

namespace aegis::init {
namespace {

// -1 unless a socket listens on 127.0.0.1:port; 0 means any port.
int listenLoopback(std::uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(fd, 128) != 0)
        closeFd(&fd);
    return fd;
}

std::uint16_t portOf(int fd) {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
    return ntohs(address.sin_port);
}

// The peer of a unix socket has closed it, rather than only ended its stream.
bool hungUp(int fd) {
    pollfd state{fd, 0, 0};
    return poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

bool wouldBlock() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

void Relay::init(int epoll, const char* dir) {
    epoll_ = epoll;
    dir_ = dir;
}

std::uint16_t Relay::open(const char* socket_name, std::uint16_t port) {
    for (Listener& listener : listeners_) {
        if (listener.fd >= 0) continue;
        listener.fd = listenLoopback(port);
        if (listener.fd < 0) listener.fd = listenLoopback(0);
        if (listener.fd < 0) return 0;
        listener.socket_name = socket_name;
        watchListeners();
        return portOf(listener.fd);
    }
    return 0;
}

void Relay::watchListeners() {
    const std::uint32_t events = open_connections_ < kMaxConnections ? std::uint32_t{EPOLLIN} : 0U;
    for (std::uint32_t i = 0; i < kListeners; ++i) {
        Listener& listener = listeners_[i];
        if (listener.fd >= 0)
            watch(epoll_, listener.fd, Source::kListener, i, events, &listener.watched);
    }
}

std::uint32_t Relay::indexOf(const Connection& connection) const {
    return static_cast<std::uint32_t>(&connection - connections_);
}

void Relay::acceptReady(std::uint32_t index) {
    Listener& listener = listeners_[index];
    for (Connection& connection : connections_) {
        if (connection.tcp >= 0) continue;
        const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) break;
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection.tcp = fd;
        connection.up.bytes = buffers_[indexOf(connection)][0];
        connection.down.bytes = buffers_[indexOf(connection)][1];
        connection.socket_name = listener.socket_name;
        const std::int64_t now = nowMs();
        connection.give_up_at = now + kHoldMs;
        ++open_connections_;
        dial(connection, now);
    }
    watchListeners();
}

void Relay::dial(Connection& connection, std::int64_t now) {
    connection.unix_fd = connectUnix(dir_, connection.socket_name, SOCK_STREAM);
    if (connection.unix_fd >= 0) {
        pump(connection);
    } else if (now >= connection.give_up_at) {
        drop(connection);
    } else {
        connection.retry_at = now + kRetryMs;
    }
}

std::int64_t Relay::tick(std::int64_t now) {
    std::int64_t next = INT64_MAX;
    if (open_connections_ == 0) return next;
    for (Connection& connection : connections_) {
        if (connection.tcp < 0 || connection.unix_fd >= 0) continue;
        if (connection.retry_at <= now) dial(connection, now);
        if (connection.tcp >= 0 && connection.unix_fd < 0 && connection.retry_at < next)
            next = connection.retry_at;
    }
    return next;
}

void Relay::connectionReady(std::uint32_t index) {
    if (index >= kMaxConnections) return;
    Connection& connection = connections_[index];
    // An event of a connection that this batch has already closed.
    if (connection.tcp >= 0 && connection.unix_fd >= 0) pump(connection);
}

// One read and what of it can be written. False when the connection is broken.
bool Relay::move(Direction& d, int from, int to) {
    if (d.begin == d.end && !d.ended) {
        d.begin = d.end = 0;
        const ssize_t n = recv(from, d.bytes, kBufferBytes, MSG_DONTWAIT);
        if (n > 0) d.end = static_cast<std::size_t>(n);
        if (n == 0) d.ended = true;
        if (n < 0 && !wouldBlock()) return false;
    }
    if (d.closed) {
        // The sink is gone but the other direction may still speak: swallow.
        d.begin = d.end = 0;
        return true;
    }
    if (d.begin < d.end) {
        const ssize_t n = send(to, d.bytes + d.begin, d.end - d.begin, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) d.begin += static_cast<std::size_t>(n);
        if (n < 0 && errno == EPIPE) d.closed = true;
        if (n < 0 && errno != EPIPE && !wouldBlock()) return false;
    }
    if (d.ended && d.begin == d.end && !d.closed) {
        shutdown(to, SHUT_WR);
        d.closed = true;
    }
    return true;
}

void Relay::pump(Connection& c) {
    if (!move(c.up, c.tcp, c.unix_fd) || !move(c.down, c.unix_fd, c.tcp)) {
        drop(c);
        return;
    }
    // Over: both ends said so; or the client is gone while the daemon speaks; or the daemon is
    // gone, and a client that keeps its end open (an idle pool) must not hold the slot.
    if (c.down.closed && (c.up.closed || !c.down.ended || hungUp(c.unix_fd))) {
        drop(c);
        return;
    }
    const auto wants = [](const Direction& in, const Direction& out) -> std::uint32_t {
        const bool read = !in.ended && in.begin == in.end;
        const bool write = !out.closed && out.begin < out.end;
        return (read ? std::uint32_t{EPOLLIN} : 0U) | (write ? std::uint32_t{EPOLLOUT} : 0U);
    };
    // Once the daemon's stream has ended, its closing is all that is left to hear.
    const std::uint32_t hang_up = c.down.closed ? std::uint32_t{EPOLLHUP} : 0U;
    const std::uint32_t index = indexOf(c);
    if (!watch(epoll_, c.tcp, Source::kRelay, index, wants(c.up, c.down), &c.tcp_watched) ||
        !watch(epoll_, c.unix_fd, Source::kRelay, index, wants(c.down, c.up) | hang_up,
               &c.unix_watched))
        drop(c);
}

void Relay::drop(Connection& c) {
    closeFd(&c.tcp);
    closeFd(&c.unix_fd);
    c.tcp_watched = c.unix_watched = 0;
    for (Direction* d : {&c.up, &c.down}) {
        d->begin = d->end = 0;
        d->ended = d->closed = false;
    }
    --open_connections_;
    watchListeners();
}

void Relay::closeAll() {
    for (Connection& connection : connections_)
        if (connection.tcp >= 0) drop(connection);
}

}  // namespace aegis::init
