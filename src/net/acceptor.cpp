#include "net/acceptor.h"

#include <sys/epoll.h>

#include <array>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "net/elastic_pool.h"
#include "os/socket.h"

namespace aegis::net {
namespace {

constexpr std::uint64_t kWakeKey = 0;
constexpr int kPauseMs = 50;
constexpr int kAcceptBatch = 64;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStackFactor = 4;
#else
constexpr std::size_t kStackFactor = 1;
#endif

}  // namespace

class Acceptor::Impl {
  public:
    explicit Impl(const Options& options)
        : pool_(options.max_threads, options.max_idle_threads, options.stack_bytes * kStackFactor) {
    }

    ~Impl() {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.signal();
        if (thread_.joinable()) thread_.join();
    }

    Status start() {
        AEGIS_CHECK(epoll_.add(wake_.fd(), EPOLLIN, kWakeKey));
        thread_ = std::thread([this] { loop(); });
        return {};
    }

    Result<std::uint64_t> add(int listen_fd, OnAccept on_accept) {
        std::lock_guard lock(mutex_);
        auto id = next_id_++;
        AEGIS_CHECK(epoll_.add(listen_fd, EPOLLIN, id));
        listeners_[id] = {listen_fd, std::move(on_accept), false};
        return id;
    }

    void remove(std::uint64_t id) {
        std::lock_guard lock(mutex_);
        auto found = listeners_.find(id);
        if (found == listeners_.end()) return;
        epoll_.remove(found->second.fd);
        listeners_.erase(found);
    }

    ElasticPool& pool() { return pool_; }

  private:
    struct Listener {
        int fd = -1;
        OnAccept on_accept;
        bool paused = false;
    };

    void loop() {
        std::array<os::EpollEvent, 64> events;
        bool any_paused = false;
        while (true) {
            auto n = epoll_.wait(events, any_paused ? kPauseMs : -1);
            std::lock_guard lock(mutex_);
            if (stopping_) return;
            if (any_paused && n == 0) resumePaused(any_paused);
            for (std::size_t i = 0; i < n; ++i) {
                auto found = listeners_.find(events[i].key);
                if (found != listeners_.end()) acceptSome(found->first, found->second, any_paused);
            }
        }
    }

    /// A bounded number, so that one listener cannot starve the others; epoll reports it again.
    void acceptSome(std::uint64_t id, Listener& listener, bool& any_paused) {
        for (int i = 0; i < kAcceptBatch; ++i) {
            auto accepted = os::acceptConnection(listener.fd);
            if (!accepted) {
                // Out of descriptors or memory: the pending connection stays, so epoll would spin
                // on it.
                log(LogLevel::kWarn, "cannot accept", {{"error", accepted.error().message}});
                listener.paused = true;
                any_paused = true;
                (void)epoll_.modify(listener.fd, 0, id);
                return;
            }
            if (!*accepted) return;
            listener.on_accept(std::move(*accepted));
        }
    }

    void resumePaused(bool& any_paused) {
        any_paused = false;
        for (auto& [id, listener] : listeners_) {
            if (!listener.paused) continue;
            listener.paused = false;
            (void)epoll_.modify(listener.fd, EPOLLIN, id);
        }
    }

    ElasticPool pool_;
    os::Epoll epoll_;
    os::EventFd wake_;
    std::mutex mutex_;  ///< held during callbacks: remove() waits for them
    std::map<std::uint64_t, Listener> listeners_;
    std::uint64_t next_id_ = kWakeKey + 1;
    bool stopping_ = false;
    std::thread thread_;
};

Acceptor::Acceptor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Acceptor::~Acceptor() = default;

Result<std::shared_ptr<Acceptor>> Acceptor::create() { return create(Options{}); }

Result<std::shared_ptr<Acceptor>> Acceptor::create(Options options) {
    auto impl = std::make_unique<Impl>(options);
    AEGIS_CHECK(impl->start());
    return std::shared_ptr<Acceptor>(new Acceptor(std::move(impl)));
}

Result<std::uint64_t> Acceptor::add(int listen_fd, OnAccept on_accept) {
    return impl_->add(listen_fd, std::move(on_accept));
}

void Acceptor::remove(std::uint64_t id) { impl_->remove(id); }
bool Acceptor::run(std::function<void()> task) { return impl_->pool().run(std::move(task)); }
std::size_t Acceptor::threads() const { return impl_->pool().threads(); }

}  // namespace aegis::net
