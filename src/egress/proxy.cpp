#include "egress/proxy.h"

#include <fmt/format.h>

#include <array>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "egress/pump.h"
#include "net/elastic_pool.h"
#include "os/clock.h"
#include "os/socket.h"
#include "wire/client_hello.h"

namespace aegis::egress {
namespace {

constexpr std::size_t kStackBytes = 512U << 10;
constexpr std::size_t kIdleThreads = 4;
constexpr std::size_t kReadBytes = 4096;
constexpr std::int64_t kAnswerMs = 5'000;
/// Of one sandbox: what a guest does must not fill the journal.
constexpr std::size_t kMaxReports = 256;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

/// What is known of one sandbox here. Shared by its listener, its threads and its flows.
struct Box {
    ports::Assigned whose;
    os::EventFd over;  ///< set: waits end
    std::mutex mutex;
    std::deque<os::Fd> waiting;
    std::size_t open = 0;     ///< waiting ones included
    std::size_t reports = 0;  ///< told so far
    std::size_t setups = 0;
    bool closed = false;
};
using BoxPtr = std::shared_ptr<Box>;

/// Says that a connection is over, whichever way it ends.
class Place {
  public:
    explicit Place(BoxPtr box) : box_(std::move(box)) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() {
        std::lock_guard lock(box_->mutex);
        --box_->open;
    }

  private:
    BoxPtr box_;
};

/// One connection while it is judged.
struct Setup {
    BoxPtr box;
    std::shared_ptr<Place> place;  ///< shared with the flow's callback, which must be copyable
    os::Fd guest;
    std::string bytes;  ///< read, not used
    Authority to;
    bool known = false;  ///< `to` is
};

}  // namespace

class Proxy::Impl : public std::enable_shared_from_this<Impl> {
  public:
    Impl(std::unique_ptr<Resolver> resolver, PrivateAccess access, ports::EgressSink& sink,
         std::shared_ptr<net::Acceptor> acceptor, ProxyOptions options)
        : resolver_(std::move(resolver)),
          dialer_(*resolver_, std::move(access)),
          sink_(sink),
          acceptor_(std::move(acceptor)),
          options_(std::move(options)),
          pool_(std::make_unique<net::ElasticPool>(options_.max_threads, kIdleThreads,
                                                   kStackBytes)) {}

    Status start() {
        AEGIS_TRY(pump_, Pump::create());
        return {};
    }

    net::Acceptor& acceptor() { return *acceptor_; }

    void stop() {
        std::unique_ptr<net::ElasticPool> pool;
        std::unique_ptr<Pump> pump;
        {
            std::lock_guard lock(mutex_);
            stopped_ = true;
            for (auto& weak : boxes_)
                if (auto box = weak.lock()) box->over.signal();
            pool = std::move(pool_);
        }
        pool.reset();  // its threads hand flows to the pump
        {
            std::lock_guard lock(mutex_);
            pump = std::move(pump_);
        }
        pump.reset();
    }

    bool enter(const BoxPtr& box) {
        std::lock_guard lock(mutex_);
        if (stopped_) return false;
        std::erase_if(boxes_, [](const auto& weak) { return weak.expired(); });
        boxes_.push_back(box);
        return true;
    }

    void leave(const BoxPtr& box) {
        {
            std::lock_guard lock(box->mutex);
            box->closed = true;
            box->open -= box->waiting.size();
            box->waiting.clear();
        }
        box->over.signal();
        std::lock_guard lock(mutex_);
        if (pump_) pump_->drop(box.get());
    }

    void accepted(const BoxPtr& box, os::Fd guest) {
        {
            std::lock_guard lock(box->mutex);
            if (box->closed || !box->whose.get() || box->open >= options_.max_connections) return;
            ++box->open;
            box->waiting.push_back(std::move(guest));
        }
        next(box);
    }

  private:
    /// Begins with a connection that waits, if the sandbox may use another thread.
    void next(const BoxPtr& box) {
        Setup setup;
        {
            std::lock_guard lock(box->mutex);
            if (box->waiting.empty() || box->setups >= options_.max_setups) return;
            ++box->setups;
            setup.guest = std::move(box->waiting.front());
            box->waiting.pop_front();
        }
        setup.box = box;
        setup.place = std::make_shared<Place>(box);
        auto job = [self = shared_from_this(),
                    shared = std::make_shared<Setup>(std::move(setup))]() mutable {
            auto mine = std::move(*shared);
            auto of = mine.box;
            self->serve(mine);
            mine = {};
            {
                std::lock_guard lock(of->mutex);
                --of->setups;
            }
            self->next(of);
        };
        std::lock_guard lock(mutex_);
        if (pool_ && pool_->run(std::move(job))) return;
        std::lock_guard box_lock(box->mutex);
        --box->setups;
    }

    void tell(const BoxPtr& box, execution::EgressDecided data) {
        {
            std::lock_guard lock(box->mutex);
            if (++box->reports > kMaxReports) return;
        }
        sink_.decided(*box->whose.get(), std::move(data));
    }

    void report(const Setup& s, bool allowed, std::string reason) {
        tell(s.box, {allowed, s.known ? s.to.host.text : std::string(), s.known ? s.to.port : 0,
                     std::move(reason), 0});
    }

    void answer(const Setup& s, int status, std::string_view text) {
        (void)os::sendAll(s.guest.get(), ownAnswer(status, text), {}, kAnswerMs, inMs(kAnswerMs),
                          s.box->over.fd());
    }

    void refuse(const Setup& s, int status, const std::string& reason) {
        report(s, false, reason);
        answer(s, status, reason);
    }

    void serve(Setup& s) {
        auto head = readHead(s);
        if (!head) {
            auto code = head.error().code;
            // A guest that went away, or never asked for anything, was not refused anything.
            if (code == ErrorCode::kInvalid || code == ErrorCode::kTooLarge ||
                code == ErrorCode::kUnsupported)
                refuse(s, code == ErrorCode::kTooLarge ? 431 : 400, head.error().message);
            return;
        }
        auto network = sink_.network(*s.box->whose.get());
        const Policy policy = network ? Policy(*network) : Policy();
        if (head->method == "CONNECT")
            tunnel(s, *head, policy);
        else
            forward(s, *head, policy);
    }

    Result<wire::RequestHead> readHead(Setup& s) {
        const auto deadline = inMs(options_.head_ms);
        std::size_t end = 0, scanned = 0;
        while (true) {
            AEGIS_TRY(end, wire::findHeadEnd(s.bytes, wire::kDefaultHeadLimit, scanned));
            if (end > 0) break;
            scanned = s.bytes.size();
            AEGIS_CHECK(readMore(s, deadline));
        }
        AEGIS_TRY(auto head, wire::parseRequestHead(std::string_view(s.bytes).substr(0, end)));
        s.bytes.erase(0, end);
        return head;
    }

    Status readMore(Setup& s, Deadline deadline) {
        std::array<char, kReadBytes> buffer;
        AEGIS_TRY(auto n, os::recvSome(s.guest.get(), buffer, deadline, s.box->over.fd()));
        if (n == 0) return {ErrorCode::kIo, "the guest has closed"};
        s.bytes.append(buffer.data(), n);
        return {};
    }

    /// Dials; says why not to both sides.
    Result<os::Fd> dial(const Setup& s, const Policy& policy) {
        auto dialed = dialer_.dial(policy, s.to, inMs(options_.dial_ms), s.box->over.fd());
        if (dialed) return std::move(dialed->fd);
        const auto& error = dialed.error();
        if (error.code == ErrorCode::kPermissionDenied) {
            refuse(s, 403, error.message);
        } else {
            report(s, true, error.message);
            answer(s, error.code == ErrorCode::kTimeout ? 504 : 502, error.message);
        }
        return error;
    }

    void forward(Setup& s, const wire::RequestHead& head, const Policy& policy) {
        auto request = readProxyRequest(head);
        if (!request) return refuse(s, 400, request.error().message);
        s.to = request->to;
        s.known = true;
        auto server = dial(s, policy);
        if (!server) return;
        Flow flow;
        flow.server = std::move(*server);
        flow.up = requestBody(request->framing, options_.max_response_bytes);
        flow.down = responseTo(head.method, head.minor_version, options_.max_response_bytes);
        flow.first_up = wire::serialize(request->forwarded);
        if (auto fed = flow.up->feed(s.bytes, flow.first_up); !fed)
            return refuse(s, 400, fed.error().message);
        join(s, std::move(flow));
    }

    void tunnel(Setup& s, const wire::RequestHead& head, const Policy& policy) {
        auto to = readConnect(head);
        if (!to) return refuse(s, 400, to.error().message);
        s.to = std::move(*to);
        s.known = true;
        auto server = dial(s, policy);
        if (!server) return;
        if (!os::sendAll(s.guest.get(), "HTTP/1.1 200 Connection established\r\n\r\n", {},
                         kAnswerMs, inMs(kAnswerMs), s.box->over.fd()))
            return report(s, true, "the guest has closed");
        if (auto named = checkHello(s); !named)
            return report(s, named.error().code == ErrorCode::kIo, named.error().message);
        Flow flow;
        flow.server = std::move(*server);
        flow.first_up = std::move(s.bytes);
        join(s, std::move(flow));
    }

    /// kIo: the guest went away before it said anything.
    Status checkHello(Setup& s) {
        const auto deadline = inMs(options_.head_ms);
        while (true) {
            AEGIS_TRY(auto hello, wire::parseClientHello(s.bytes));
            if (!hello) {
                if (auto more = readMore(s, deadline); !more) {
                    if (more.error().code != ErrorCode::kTimeout) return more;
                    return {ErrorCode::kTimeout, "no TLS ClientHello in time"};
                }
                continue;
            }
            if (!hello->server_name) {
                if (s.to.host.literal) return {};
                return {ErrorCode::kInvalid, "TLS without a server name"};
            }
            auto named = Host::parse(*hello->server_name);
            if (named && named->text == s.to.host.text) return {};
            return {ErrorCode::kInvalid, "the TLS server name is another"};
        }
    }

    void join(Setup& s, Flow flow) {
        flow.limit = options_.max_response_bytes;
        flow.idle_ms = options_.idle_ms;
        flow.deadline = inMs(options_.longest_ms);
        flow.owner = s.box.get();
        flow.guest = std::move(s.guest);
        flow.on_end = [this, box = s.box, place = s.place, host = s.to.host.text,
                       port = s.to.port](const FlowEnd& end) {
            tell(box, {true, host, port, end.reason, end.up + end.down});
        };
        std::lock_guard lock(mutex_);
        if (!pump_) return;
        pump_->add(std::move(flow));
        // The listener may have gone since this connection was taken up.
        std::lock_guard box_lock(s.box->mutex);
        if (s.box->closed) pump_->drop(s.box.get());
    }

    const std::unique_ptr<Resolver> resolver_;
    Dialer dialer_;
    ports::EgressSink& sink_;
    const std::shared_ptr<net::Acceptor> acceptor_;  ///< shared with the daemon's servers
    const ProxyOptions options_;
    std::mutex mutex_;  ///< taken before a box's
    bool stopped_ = false;
    std::vector<std::weak_ptr<Box>> boxes_;
    std::unique_ptr<net::ElasticPool> pool_;
    std::unique_ptr<Pump> pump_;
};

namespace {

/// Takes its sandbox out of the proxy when destroyed.
class Listener : public ports::GuestListener {
  public:
    Listener(BoxPtr box, std::function<void()> leave, os::Fd socket)
        : box_(std::move(box)), leave_(std::move(leave)), socket_(std::move(socket)) {}
    ~Listener() override { leave_(); }
    void assign(const ports::SandboxId& id) override { box_->whose.set(id); }

  private:
    const BoxPtr box_;
    std::function<void()> leave_;
    os::Fd socket_;
};

struct Pair : ports::GuestListener {
    std::unique_ptr<ports::GuestListener> first, second;
    void assign(const ports::SandboxId& id) override {
        first->assign(id);
        second->assign(id);
    }
};

}  // namespace

Proxy::Proxy(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Proxy::~Proxy() { stop(); }

Result<std::unique_ptr<Proxy>> Proxy::create(std::unique_ptr<Resolver> resolver,
                                             ports::EgressSink& sink,
                                             std::shared_ptr<net::Acceptor> acceptor,
                                             ProxyOptions options) {
    AEGIS_TRY(auto access, PrivateAccess::parse(options.allow_private));
    auto impl = std::make_shared<Impl>(std::move(resolver), std::move(access), sink,
                                       std::move(acceptor), std::move(options));
    AEGIS_CHECK(impl->start());
    return std::unique_ptr<Proxy>(new Proxy(std::move(impl)));
}

Result<std::unique_ptr<ports::GuestListener>> Proxy::listen(const std::string& socket_path) {
    AEGIS_TRY(auto socket, os::listenUnix(socket_path, 0666));
    auto box = std::make_shared<Box>();
    if (!impl_->enter(box)) return Error(ErrorCode::kCancelled, "the daemon stops");
    AEGIS_TRY(auto watch, impl_->acceptor().add(socket.get(), [impl = impl_, box](os::Fd guest) {
        impl->accepted(box, std::move(guest));
    }));
    auto leave = [impl = impl_, box, watch] {
        impl->acceptor().remove(watch);
        impl->leave(box);
    };
    return std::unique_ptr<ports::GuestListener>(
        std::make_unique<Listener>(box, std::move(leave), std::move(socket)));
}

Result<std::unique_ptr<ports::GuestListener>> Proxy::beside(
    std::unique_ptr<ports::GuestListener> other, const std::string& other_socket) {
    auto directory = other_socket.substr(0, other_socket.rfind('/'));
    AEGIS_TRY(auto own, listen(directory + "/proxy.sock"));
    auto both = std::make_unique<Pair>();
    both->first = std::move(other);
    both->second = std::move(own);
    return std::unique_ptr<ports::GuestListener>(std::move(both));
}

void Proxy::stop() { impl_->stop(); }

}  // namespace aegis::egress
