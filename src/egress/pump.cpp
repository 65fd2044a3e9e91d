#include "egress/pump.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "os/clock.h"
#include "os/socket.h"

namespace aegis::egress {
namespace {

constexpr std::uint64_t kWakeKey = 0;
constexpr std::size_t kReadBytes = 16U << 10;
constexpr int kScanMs = 250;
constexpr int kTurns = 16;

BootTime now() { return os::systemClock().boot(); }

/// One way of a flow.
struct Way {
    Filter* filter = nullptr;
    std::string bytes;  ///< on their way
    std::size_t at = 0;
    std::uint64_t taken = 0;
    bool ended = false;   ///< nothing more is read
    bool closed = false;  ///< and the other side knows
    bool empty() const { return at == bytes.size(); }
};

struct Joined {
    explicit Joined(Flow f) : flow(std::move(f)) {
        up.filter = flow.up.get();
        down.filter = flow.down.get();
        up.bytes = std::move(flow.first_up);
        up.taken = up.bytes.size();
        up.ended = up.filter != nullptr && up.filter->done();
        idle = Deadline::in(now(), flow.idle_ms);
    }
    Flow flow;
    Way up, down;
    std::uint32_t guest_events = 0, server_events = 0;  ///< watched
    Deadline idle;
    bool dead = false;
    std::string reason;

    bool isPlain() const { return down.filter != nullptr; }
    /// An answer is the end of an exchange, whether or not all of the request was wanted.
    bool over() const { return dead || (down.closed && (isPlain() || up.closed)); }
};

}  // namespace

class Pump::Impl {
  public:
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

    void add(Flow flow) {
        std::lock_guard lock(mutex_);
        arrivals_.push_back(std::move(flow));
        wake_.signal();
    }

    void drop(const void* owner) {
        std::lock_guard lock(mutex_);
        dropped_.push_back(owner);
        wake_.signal();
    }

    std::size_t count() const { return count_; }

  private:
    void loop() {
        std::array<os::EpollEvent, 64> events;
        while (!stopping_) {
            int timeout_ms = !again_.empty() ? 0 : flows_.empty() ? -1 : kScanMs;
            auto n = epoll_.wait(events, timeout_ms);
            wake_.drain();
            takeArrivals();
            for (auto id : std::exchange(again_, {}))
                serve(id);
            for (std::size_t i = 0; i < n; ++i)
                if (events[i].key != kWakeKey) serve(events[i].key / 2);
            scan();
        }
        takeArrivals();
        while (!flows_.empty())
            finish(flows_.begin()->first, "the daemon stops");
    }

    void takeArrivals() {
        std::vector<Flow> arrivals;
        std::vector<const void*> dropped;
        {
            std::lock_guard lock(mutex_);
            arrivals.swap(arrivals_);
            dropped.swap(dropped_);
        }
        for (auto& flow : arrivals) {
            auto id = next_id_++;
            flows_.emplace(id, std::make_unique<Joined>(std::move(flow)));
            again_.push_back(id);
        }
        for (const auto* owner : dropped)
            endAll([owner](const Joined& f) {
                return f.flow.owner == owner ? "the sandbox has ended" : "";
            });
        count_ = flows_.size();
    }

    template <class Reason>
    void endAll(Reason reason) {
        std::vector<std::pair<std::uint64_t, std::string>> ending;
        for (const auto& [id, flow] : flows_)
            if (std::string why = reason(*flow); !why.empty()) ending.emplace_back(id, why);
        for (auto& [id, why] : ending)
            finish(id, std::move(why));
    }

    void scan() {
        auto time = now();
        if (time < next_scan_) return;
        next_scan_ = Deadline::in(time, kScanMs).at;
        endAll([time](const Joined& f) {
            return f.idle.passed(time)            ? "idle for too long"
                   : f.flow.deadline.passed(time) ? "open for too long"
                                                  : "";
        });
    }

    void finish(std::uint64_t id, std::string reason) {
        auto node = flows_.extract(id);
        if (node.empty()) return;
        auto& f = *node.mapped();
        setWatch(f.flow.guest.get(), f.guest_events, 0, 0);
        setWatch(f.flow.server.get(), f.server_events, 0, 0);
        f.flow.guest.reset();
        f.flow.server.reset();
        count_ = flows_.size();
        f.flow.on_end({f.up.taken, f.down.taken, std::move(reason)});
    }

    void serve(std::uint64_t id) {
        auto found = flows_.find(id);
        if (found == flows_.end()) return;
        auto& f = *found->second;
        bool more = true;
        for (int turn = 0; turn < kTurns && more && !f.over(); ++turn) {
            more = take(f, f.up, f.flow.guest.get(), "request");
            more = give(f, f.up, f.flow.server.get()) || more;
            more = take(f, f.down, f.flow.server.get(), "response") || more;
            more = give(f, f.down, f.flow.guest.get()) || more;
            if (more) f.idle = Deadline::in(now(), f.flow.idle_ms);
        }
        if (f.over()) return finish(id, std::move(f.reason));
        if (more) again_.push_back(id);
        watch(id, f);
    }

    bool take(Joined& f, Way& way, int from, std::string_view what) {
        if (f.dead || !way.empty() || way.ended) return false;
        std::array<char, kReadBytes> buffer;
        auto n = ::recv(from, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
        way.bytes.clear();
        way.at = 0;
        if (n <= 0) {
            way.ended = true;
            if (way.filter != nullptr) settle(f, way, way.filter->finish(way.bytes));
            return true;
        }
        auto size = static_cast<std::size_t>(n);
        way.taken += size;
        if (way.taken > f.flow.limit) {
            f.reason = fmt::format("{} cut at {} bytes", what, f.flow.limit);
            f.dead = true;
            return true;
        }
        std::string_view in(buffer.data(), size);
        if (way.filter == nullptr) {
            way.bytes = in;
            return true;
        }
        settle(f, way, way.filter->feed(in, way.bytes));
        if (way.filter->done()) way.ended = true;
        return true;
    }

    /// A filter that gave up ends the flow, but what it still had to say is said.
    void settle(Joined& f, Way& way, const Status& status) {
        if (status) return;
        if (f.reason.empty()) f.reason = status.error().message;
        way.ended = true;
        f.dead = way.bytes.empty() || &way == &f.up;
    }

    bool give(Joined& f, Way& way, int to) {
        if (f.dead || (way.empty() && (!way.ended || way.closed))) return false;
        if (way.empty()) {
            // A server may take half an end for a whole one: the end of a request is in its
            // framing.
            if (!f.isPlain() || &way == &f.down) ::shutdown(to, SHUT_WR);
            way.closed = true;
            return true;
        }
        auto n = ::send(to, way.bytes.data() + way.at, way.bytes.size() - way.at,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
        if (n < 0 && f.isPlain() && &way == &f.up) {
            // It wants no more of the request, but may have answered already.
            way.bytes.clear();
            way.at = 0;
            way.ended = way.closed = true;
            return true;
        }
        f.dead = n < 0;
        if (n > 0) way.at += static_cast<std::size_t>(n);
        return true;
    }

    void watch(std::uint64_t id, Joined& f) {
        auto wanted = [](const Way& reads, const Way& writes) {
            std::uint32_t events = 0;
            if (reads.empty() && !reads.ended) events |= EPOLLIN;
            if (!writes.empty()) events |= EPOLLOUT;
            return events;
        };
        setWatch(f.flow.guest.get(), f.guest_events, wanted(f.up, f.down), id * 2);
        setWatch(f.flow.server.get(), f.server_events, wanted(f.down, f.up), id * 2 + 1);
    }

    /// A descriptor that waits for nothing is taken out, or its hang-up would be reported without
    /// end.
    void setWatch(int fd, std::uint32_t& watched, std::uint32_t events, std::uint64_t key) {
        if (watched == events) return;
        if (events == 0)
            epoll_.remove(fd);
        else if (watched == 0)
            (void)epoll_.add(fd, events, key);
        else
            (void)epoll_.modify(fd, events, key);
        watched = events;
    }

    os::Epoll epoll_;
    os::EventFd wake_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Joined>> flows_;  ///< the thread's
    std::vector<std::uint64_t> again_;  ///< served once more without waiting
    std::uint64_t next_id_ = 1;
    BootTime next_scan_;
    std::atomic<std::size_t> count_ = 0;
    std::mutex mutex_;
    std::vector<Flow> arrivals_;
    std::vector<const void*> dropped_;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

Pump::Pump(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pump::~Pump() = default;

Result<std::unique_ptr<Pump>> Pump::create() {
    auto impl = std::make_unique<Impl>();
    AEGIS_CHECK(impl->start());
    return std::unique_ptr<Pump>(new Pump(std::move(impl)));
}

void Pump::add(Flow flow) { impl_->add(std::move(flow)); }
void Pump::drop(const void* owner) { impl_->drop(owner); }
std::size_t Pump::flows() const { return impl_->count(); }

}  // namespace aegis::egress
