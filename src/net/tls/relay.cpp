#include "net/tls/relay.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "os/clock.h"
#include "os/socket.h"

namespace aegis::net::tls {
namespace {

constexpr std::uint64_t kWakeKey = 0;
constexpr std::size_t kBufferBytes = 16U << 10;
constexpr int kScanMs = 250;
constexpr int kTurns = 16;

BootTime now() { return os::systemClock().boot(); }

/// A descriptor and what epoll watches on it. One that waits for nothing is taken out, or its
/// hang-up would be reported without end.
struct Watched {
    os::Fd fd;
    std::uint32_t events = 0;
};

/// Bytes on their way in one direction.
struct Pipe {
    std::array<char, kBufferBytes> bytes;
    std::size_t at = 0;
    std::size_t size = 0;
    bool ended = false;   ///< its source says no more
    bool closed = false;  ///< and that has been passed on
    bool empty() const { return at == size; }
};

struct Connection {
    SessionPtr session{nullptr, {nullptr}};
    Watched net;
    Watched plain;
    Pipe in;   ///< decrypted
    Pipe out;  ///< to be encrypted
    bool handshaking = true;
    bool wants_read = false;  ///< the session, before it can go on
    bool wants_write = false;
    bool dead = false;
    Deadline deadline;  ///< of the handshake, of progress, or of lingering
    Relay::OnReady on_ready;
};

}  // namespace

class Relay::Impl {
  public:
    Impl(const OpenSsl& ssl, Options options) : ssl_(ssl), options_(options) {}
    ~Impl() {
        stopping_ = true;
        wake_.signal();
        if (thread_.joinable()) thread_.join();
    }

    Status start() {
        AEGIS_CHECK(epoll_.add(wake_.fd(), EPOLLIN, kWakeKey));
        thread_ = std::thread([this] { loop(); });
        return {};
    }

    bool accept(SessionPtr session, os::Fd socket, OnReady on_ready) {
        auto made = std::make_unique<Connection>();
        made->session = std::move(session);
        made->net.fd = std::move(socket);
        made->on_ready = std::move(on_ready);
        made->deadline = Deadline::in(now(), options_.handshake_ms);
        std::lock_guard lock(mutex_);
        if (total_ >= options_.max_connections) return false;
        ++total_;
        enter(std::move(made));
        return true;
    }

    Result<os::Fd> adopt(SessionPtr session, os::Fd socket) {
        AEGIS_TRY(auto pair, os::socketPair());
        auto made = std::make_unique<Connection>();
        made->session = std::move(session);
        made->net.fd = std::move(socket);
        made->plain.fd = std::move(pair.first);
        made->handshaking = false;
        std::lock_guard lock(mutex_);
        ++total_;
        enter(std::move(made));
        return std::move(pair.second);
    }

  private:
    void enter(std::unique_ptr<Connection> made) {
        arrivals_.push_back(std::move(made));
        wake_.signal();
    }

    void loop() {
        std::array<os::EpollEvent, 64> events;
        while (!stopping_) {
            int timeout_ms = !again_.empty() ? 0 : connections_.empty() ? -1 : kScanMs;
            auto n = epoll_.wait(events, timeout_ms);
            wake_.drain();
            for (auto id : std::exchange(again_, {}))
                serve(id);
            for (auto& made : takeArrivals()) {
                auto id = next_id_++;
                bool greets = made->handshaking;
                connections_.emplace(id, std::move(made));
                if (greets) greeting_.push_back(id);
                serve(id);
            }
            dropOldGreetings();
            for (std::size_t i = 0; i < n; ++i)
                if (events[i].key != kWakeKey) serve(events[i].key / 2);
            scan();
        }
        connections_.clear();
    }

    std::vector<std::unique_ptr<Connection>> takeArrivals() {
        std::lock_guard lock(mutex_);
        return std::exchange(arrivals_, {});
    }

    /// Too many that have not shaken hands: the oldest give way, so that silent ones cannot keep
    /// the others out.
    void dropOldGreetings() {
        while (greeting_.size() > options_.max_handshakes) {
            auto found = connections_.find(greeting_.front());
            auto id = greeting_.front();
            greeting_.pop_front();
            if (found != connections_.end() && found->second->handshaking) drop(id);
        }
    }

    void scan() {
        auto time = now();
        if (time < next_scan_) return;
        next_scan_ = Deadline::in(time, kScanMs).at;
        std::vector<std::uint64_t> late;
        for (const auto& [id, c] : connections_)
            if (c->deadline.passed(time)) late.push_back(id);
        for (auto id : late)
            drop(id);
    }

    void drop(std::uint64_t id) {
        auto found = connections_.find(id);
        if (found == connections_.end()) return;
        auto& c = *found->second;
        for (auto* watched : {&c.net, &c.plain})
            if (watched->events != 0) epoll_.remove(watched->fd.get());
        std::lock_guard lock(mutex_);
        --total_;
        connections_.erase(found);
    }

    void serve(std::uint64_t id) {
        auto found = connections_.find(id);
        if (found == connections_.end()) return;
        auto& c = *found->second;
        c.wants_read = c.wants_write = false;
        if (c.handshaking) shake(c);
        if (!c.handshaking && !c.dead && pump(c)) again_.push_back(id);
        bool over = c.in.closed && c.out.closed;
        if (c.dead || over) return drop(id);
        watch(id, c);
    }

    /// What a session's call that did not succeed means: wait, or the end (false).
    bool mayGoOn(Connection& c, int result) {
        switch (ssl_.SSL_get_error(c.session.get(), result)) {
            case SSL_ERROR_WANT_READ:
                c.wants_read = true;
                return true;
            case SSL_ERROR_WANT_WRITE:
                c.wants_write = true;
                return true;
            default:
                return false;
        }
    }

    void shake(Connection& c) {
        ssl_.ERR_clear_error();
        int result = ssl_.SSL_do_handshake(c.session.get());
        if (result != 1) {
            c.dead = !mayGoOn(c, result);
            return;
        }
        auto pair = os::socketPair();
        c.dead = !pair;
        if (c.dead) return;
        c.plain.fd = std::move(pair->first);
        c.deadline = Deadline::never();
        c.handshaking = false;
        std::exchange(c.on_ready, nullptr)(std::move(pair->second));
    }

    /// Moves what can be moved, a bounded number of times: others are waiting too. True if there
    /// may be more, which epoll cannot know: the session holds bytes of its own.
    bool pump(Connection& c) {
        for (int turn = 0; turn < kTurns && !c.dead; ++turn) {
            bool moved = decrypt(c);
            moved = toPlain(c) || moved;
            moved = fromPlain(c) || moved;
            moved = encrypt(c) || moved;
            if (!moved) return false;
        }
        return !c.dead;
    }

    bool decrypt(Connection& c) {
        if (!c.in.empty() || c.in.ended) return false;
        ssl_.ERR_clear_error();
        int n = ssl_.SSL_read(c.session.get(), c.in.bytes.data(), int{kBufferBytes});
        if (n > 0) {
            c.in.at = 0;
            c.in.size = static_cast<std::size_t>(n);
            return true;
        }
        if (mayGoOn(c, n)) return false;
        // A proper end, or a cut one, which the message's own framing tells from it.
        c.in.ended = true;
        return true;
    }

    bool toPlain(Connection& c) {
        if (c.in.empty() && (!c.in.ended || c.in.closed)) return false;
        if (c.in.empty()) {
            ::shutdown(c.plain.fd.get(), SHUT_WR);
            c.in.closed = true;
            return true;
        }
        auto n = ::send(c.plain.fd.get(), c.in.bytes.data() + c.in.at, c.in.size - c.in.at,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
        // Nobody reads any more: what still comes is thrown away until the peer has closed.
        c.in.at = n < 0 ? c.in.size : c.in.at + static_cast<std::size_t>(n);
        return true;
    }

    bool fromPlain(Connection& c) {
        if (!c.out.empty() || c.out.ended) return false;
        auto n = ::recv(c.plain.fd.get(), c.out.bytes.data(), kBufferBytes, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
        c.out.ended = n <= 0;
        c.out.at = 0;
        c.out.size = n <= 0 ? 0 : static_cast<std::size_t>(n);
        if (n > 0) c.deadline = Deadline::in(now(), options_.progress_ms);
        return true;
    }

    bool encrypt(Connection& c) {
        if (c.out.empty() && (!c.out.ended || c.out.closed)) return false;
        ssl_.ERR_clear_error();
        if (c.out.empty()) {
            (void)ssl_.SSL_shutdown(c.session.get());
            ::shutdown(c.net.fd.get(), SHUT_WR);
            c.out.closed = true;
            c.deadline = Deadline::in(now(), options_.linger_ms);
            return true;
        }
        int n = ssl_.SSL_write(c.session.get(), c.out.bytes.data() + c.out.at,
                               static_cast<int>(c.out.size - c.out.at));
        if (n <= 0) {
            c.dead = !mayGoOn(c, n);
            return false;
        }
        c.out.at += static_cast<std::size_t>(n);
        c.deadline = c.out.empty() ? Deadline::never() : Deadline::in(now(), options_.progress_ms);
        return true;
    }

    void watch(std::uint64_t id, Connection& c) {
        std::uint32_t net = 0;
        if (c.handshaking || c.wants_read || (c.in.empty() && !c.in.ended)) net |= EPOLLIN;
        if (c.wants_write) net |= EPOLLOUT;
        if (c.handshaking && c.wants_write) net = EPOLLOUT;
        setWatch(c.net, net, id * 2);
        if (!c.plain.fd) return;
        std::uint32_t plain = 0;
        if (c.out.empty() && !c.out.ended) plain |= EPOLLIN;
        if (!c.in.empty()) plain |= EPOLLOUT;
        setWatch(c.plain, plain, id * 2 + 1);
    }

    void setWatch(Watched& watched, std::uint32_t events, std::uint64_t key) {
        if (watched.events == events) return;
        if (events == 0)
            epoll_.remove(watched.fd.get());
        else if (watched.events == 0)
            (void)epoll_.add(watched.fd.get(), events, key);
        else
            (void)epoll_.modify(watched.fd.get(), events, key);
        watched.events = events;
    }

    const OpenSsl& ssl_;
    const Options options_;
    os::Epoll epoll_;
    os::EventFd wake_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;  ///< the thread's
    std::deque<std::uint64_t> greeting_;  ///< the newest that began with a handshake, in order
    std::vector<std::uint64_t> again_;    ///< served once more without waiting
    std::uint64_t next_id_ = 1;
    BootTime next_scan_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Connection>> arrivals_;
    std::size_t total_ = 0;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

Relay::Relay(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Relay::~Relay() = default;

Result<std::unique_ptr<Relay>> Relay::create(const OpenSsl& ssl, Options options) {
    auto impl = std::make_unique<Impl>(ssl, options);
    AEGIS_CHECK(impl->start());
    return std::unique_ptr<Relay>(new Relay(std::move(impl)));
}

bool Relay::accept(SessionPtr session, os::Fd socket, OnReady on_ready) {
    return impl_->accept(std::move(session), std::move(socket), std::move(on_ready));
}

Result<os::Fd> Relay::adopt(SessionPtr session, os::Fd socket) {
    return impl_->adopt(std::move(session), std::move(socket));
}

}  // namespace aegis::net::tls
