#include "net/server.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

#include "base/log.h"
#include "net/connection.h"
#include "os/clock.h"

namespace aegis::net {
namespace {

constexpr std::int64_t kHonestHeadMs = 1000;

/// Said without a thread to say it on, so only as far as the socket's buffer goes at once.
void turnAway(const os::Fd& socket) {
    auto body = errorBody(ErrorCode::kUnavailable, "too many connections, try again later");
    wire::ResponseHead head;
    head.status = 503;
    head.headers = {{"Content-Type", "application/json"},
                    {"Content-Length", std::to_string(body.size())},
                    {"Connection", "close"}};
    auto bytes = wire::serialize(head) + body;
    (void)::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ::shutdown(socket.get(), SHUT_WR);
    // Unread input would turn the close into a reset that overtakes the answer.
    std::array<char, 4096> unread;
    while (::recv(socket.get(), unread.data(), unread.size(), MSG_DONTWAIT) > 0) {
    }
}

}  // namespace

Server::Impl::Impl(ServerOptions o, Handler h, PeerKind k)
    : options(std::move(o)), handler(std::move(h)), kind(k) {}

Server::Impl::~Impl() { stop(Deadline{os::systemClock().boot()}); }

Status Server::Impl::listen(os::Fd listener, std::string unix_path) {
    listener_ = std::move(listener);
    unix_path_ = std::move(unix_path);
    if (kind == PeerKind::kTcp) {
        AEGIS_TRY(port, os::localPort(listener_.get()));
    }
    AEGIS_TRY(accept_id_,
              options.acceptor->add(listener_.get(), [this](os::Fd s) { onAccept(std::move(s)); }));
    return {};
}

void Server::Impl::onAccept(os::Fd socket) {
    auto peer = os::peerName(socket.get());
    if (!options.secure) return begin(std::move(socket), std::move(peer));
    options.secure(std::move(socket),
                   [this, peer](os::Fd plain) { begin(std::move(plain), peer); });
}

void Server::Impl::begin(os::Fd socket, std::string peer) {
    // shared_ptr: std::function must be copyable; the task is its only owner.
    std::shared_ptr<Connection> connection;
    {
        std::lock_guard lock(mutex);
        if (stopped_) return;
        auto general = options.max_connections -
                       std::min(options.reserved_connections, options.max_connections);
        while (live() >= general && evictOne()) {
        }
        if (live() >= options.max_connections) return turnAway(socket);
        connection = std::make_shared<Connection>(*this, std::move(socket), std::move(peer));
        connection->in_reserve = live() >= general;
        connections_.insert(connection.get());
    }
    if (options.acceptor->run([connection] { connection->run(); })) return;
    log(LogLevel::kWarn, "no thread for a connection", {{"server", options.name}});
    turnAway(connection->socket);
    forget(*connection);
}

/// Makes room: asks the connection that has been waiting longest between requests to close (one
/// already in its receive buffer is still served), else the one that has been longest without
/// finishing its request's head, if that is longer than an honest client takes. One that has had
/// its last answer counts as idle. False if there is none to ask.
bool Server::Impl::evictOne() {
    using Phase = Connection::Phase;
    BootTime slow{os::systemClock().boot().ns - kHonestHeadMs * 1'000'000};
    Connection* oldest = nullptr;
    bool oldest_idle = false;
    for (auto* c : connections_) {
        if (c->evicted) continue;
        bool idle = c->phase == Phase::kIdle || c->phase == Phase::kLingering;
        bool headless = c->phase == Phase::kFresh || c->phase == Phase::kHead;
        if (!idle && !(headless && c->since < slow)) continue;
        bool better = oldest == nullptr || idle > oldest_idle ||
                      (idle == oldest_idle && c->since < oldest->since);
        if (!better) continue;
        oldest = c;
        oldest_idle = idle;
    }
    if (oldest == nullptr) return false;
    oldest->evicted = true;
    ++evicted_;
    ::shutdown(oldest->socket.get(), SHUT_RD);
    return true;
}

bool Server::Impl::admits(const Connection& connection, std::string_view method,
                          std::string_view path) {
    {
        std::lock_guard lock(mutex);
        auto general = options.max_connections -
                       std::min(options.reserved_connections, options.max_connections);
        if (!connection.in_reserve || live() <= general) return true;
    }
    return options.reserved_path && options.reserved_path(method, path);
}

void Server::Impl::forget(Connection& connection) {
    std::lock_guard lock(mutex);
    connections_.erase(&connection);
    if (connection.evicted) --evicted_;
    // Under the lock: stop() and evictIdle() must never shut down a number that is somebody else's
    // by now.
    connection.socket.reset();
    changed_.notify_all();
}

std::size_t Server::Impl::open() const {
    std::lock_guard lock(mutex);
    return connections_.size();
}

void Server::Impl::stop(Deadline deadline) {
    stopping_ = true;
    if (accept_id_ != 0) options.acceptor->remove(accept_id_);
    std::unique_lock lock(mutex);
    if (!stopped_) {
        stopped_ = true;
        if (!unix_path_.empty()) ::unlink(unix_path_.c_str());
        listener_.reset();
    }
    auto handling = [](const Connection* c) { return c->phase == Connection::Phase::kHandling; };
    for (auto* c : connections_)
        if (!handling(c) && c->socket) ::shutdown(c->socket.get(), SHUT_RD);
    auto none = [this] { return connections_.empty(); };
    while (!none()) {
        auto left_ms = deadline.leftMs(os::systemClock().boot());
        if (left_ms == 0) break;
        changed_.wait_for(lock, std::chrono::milliseconds(std::min<std::int64_t>(left_ms, 1000)));
    }
    for (auto* c : connections_)
        if (c->socket) ::shutdown(c->socket.get(), SHUT_RDWR);
    changed_.wait(lock, none);
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;
std::uint16_t Server::port() const { return impl_->port; }
std::size_t Server::connections() const { return impl_->open(); }
void Server::stop(Deadline deadline) { impl_->stop(deadline); }

Result<std::unique_ptr<Server>> Server::serve(PeerKind kind, os::Fd listener, std::string path,
                                              ServerOptions options, Handler handler) {
    if (!options.acceptor) {
        AEGIS_TRY(options.acceptor, Acceptor::create());
    }
    auto impl = std::make_unique<Impl>(std::move(options), std::move(handler), kind);
    AEGIS_CHECK(impl->listen(std::move(listener), std::move(path)));
    return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Result<std::unique_ptr<Server>> Server::listenTcp(const std::string& address, std::uint16_t port,
                                                  ServerOptions options, Handler handler) {
    AEGIS_TRY(auto listener, os::listenTcp(address, port));
    return serve(PeerKind::kTcp, std::move(listener), {}, std::move(options), std::move(handler));
}

Result<std::unique_ptr<Server>> Server::listenUnix(const std::string& path, unsigned mode,
                                                   ServerOptions options, Handler handler) {
    AEGIS_TRY(auto listener, os::listenUnix(path, mode));
    return serve(PeerKind::kUnix, std::move(listener), path, std::move(options),
                 std::move(handler));
}

}  // namespace aegis::net
