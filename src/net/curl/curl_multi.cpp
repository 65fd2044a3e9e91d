#include "net/curl/curl_multi.h"

#include <pthread.h>
#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "base/log.h"
#include "net/curl/library.h"
#include "net/curl/transfer.h"
#include "os/clock.h"
#include "os/socket.h"

namespace aegis::net {
namespace {

constexpr long kIdleConnections = 64;
/// Making one costs more than a short request does otherwise.
constexpr std::size_t kSpareHandles = 32;
constexpr std::int64_t kLongestWaitMs = 60'000;
constexpr std::uint64_t kWakeKey = ~std::uint64_t{0};

struct MultiDeleter {
    void operator()(CURLM* multi) const { curl().multi_cleanup(multi); }
};

}  // namespace

/// curl says which of its sockets it waits for and until when; what has happened is passed on to
/// the one transfer that it is for, so that a turn costs the same however many are under way.
class CurlMulti::Impl {
  public:
    ~Impl() {
        bool wake = false;
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
            wake = std::exchange(asleep_, false);
        }
        if (wake) wake_.signal();
        if (thread_.joinable()) thread_.join();
        for (auto& [id, transfer] : transfers_)
            curl().multi_remove_handle(multi_.get(), transfer->easy());
    }

    Status start() {
        std::string reason;
        if (loadCurl(reason) == nullptr)
            return {ErrorCode::kUnsupported, "libcurl cannot be loaded: " + reason,
                    "install it (Debian: libcurl4)"};
        static const CURLcode global = curl().global_init(CURL_GLOBAL_DEFAULT);
        multi_.reset(global == CURLE_OK ? curl().multi_init() : nullptr);
        if (!multi_) return {ErrorCode::kInternal, "libcurl cannot be initialised"};
        curl().multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, kIdleConnections);
        curl().multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &Impl::onInterest);
        curl().multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
        curl().multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &Impl::onTimer);
        curl().multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
        AEGIS_CHECK(epoll_.add(wake_.fd(), EPOLLIN, kWakeKey));
        thread_ = std::thread([this] { loop(); });
        return {};
    }

    TransferId add(CurlRequest request, CurlCallbacks callbacks) {
        TransferId id = ++last_id_;
        post({Command::kStart, id,
              std::make_unique<Transfer>(id, std::move(request), std::move(callbacks))});
        return id;
    }

    void cancel(TransferId id) {
        if (std::this_thread::get_id() == thread_.get_id()) {
            // curl forbids removing a handle from within its callbacks: the loop does it.
            if (auto found = transfers_.find(id); found != transfers_.end()) found->second->mute();
            post({Command::kCancel, id, nullptr});
            return;
        }
        auto ticket = post({Command::kCancel, id, nullptr});
        std::unique_lock lock(mutex_);
        progressed_.wait(lock, [&] { return done_ >= ticket || ended_; });
    }

    void resume(TransferId id) { post({Command::kResume, id, nullptr}); }

  private:
    struct Command {
        enum Kind : std::uint8_t { kStart, kCancel, kResume } kind;
        TransferId id;
        std::unique_ptr<Transfer> transfer;
    };

    std::uint64_t post(Command command) {
        std::uint64_t ticket = 0;
        bool wake = false;
        {
            std::lock_guard lock(mutex_);
            commands_.push_back(std::move(command));
            ticket = ++posted_;
            wake = std::exchange(asleep_, false);
        }
        if (wake) wake_.signal();
        return ticket;
    }

    void loop() {
        // With NOSIGNAL curl leaves SIGPIPE to its user.
        sigset_t signals;
        ::sigfillset(&signals);
        ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
        std::array<os::EpollEvent, 64> events;
        while (obey()) {
            if (timer_.passed(now())) {
                timer_ = Deadline::never();
                act(CURL_SOCKET_TIMEOUT, 0);
            }
            collect();
            auto count = epoll_.wait(events, waitMs());
            for (std::size_t i = 0; i < count; ++i)
                take(events[i]);
            collect();
        }
        std::lock_guard lock(mutex_);
        ended_ = true;
        progressed_.notify_all();
    }

    static BootTime now() { return os::systemClock().boot(); }

    /// How long there is nothing to do unless something happens.
    int waitMs() {
        std::lock_guard lock(mutex_);
        bool idle = commands_.empty() && !stopping_;
        auto left_ms = std::min(timer_.leftMs(now()), kLongestWaitMs);
        asleep_ = idle && left_ms > 0;
        return asleep_ ? static_cast<int>(left_ms) : 0;
    }

    void take(const os::EpollEvent& event) {
        if (event.key == kWakeKey) {
            wake_.drain();
            return;
        }
        auto fd = static_cast<curl_socket_t>(event.key);
        if (!watched_.contains(fd)) return;  // closed by what happened before it in this turn
        int what = 0;
        if ((event.events & EPOLLIN) != 0) what |= CURL_CSELECT_IN;
        if ((event.events & EPOLLOUT) != 0) what |= CURL_CSELECT_OUT;
        if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) what |= CURL_CSELECT_ERR;
        act(fd, what);
    }

    void act(curl_socket_t fd, int what) {
        int running = 0;
        curl().multi_socket_action(multi_.get(), fd, what, &running);
    }

    /// curl waits for other things of a socket than before; nothing: it says so before it closes
    /// it.
    static int onInterest(CURL*, curl_socket_t fd, int what, void* self, void*) {
        auto& impl = *static_cast<Impl*>(self);
        if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE) {
            if (impl.watched_.erase(fd) > 0) impl.epoll_.remove(fd);
            return 0;
        }
        bool in = what != CURL_POLL_OUT, out = what != CURL_POLL_IN;
        unsigned wanted = (in ? unsigned{EPOLLIN} : 0U) | (out ? unsigned{EPOLLOUT} : 0U);
        auto key = static_cast<std::uint64_t>(fd);
        bool is_new = impl.watched_.insert(fd).second;
        auto done = is_new ? Status() : impl.epoll_.modify(fd, wanted, key);
        // A resolver's own sockets go without a word, and their numbers come again.
        if (is_new || !done) done = impl.epoll_.add(fd, wanted, key);
        // What cannot be watched ends at its deadline: an error here would end the whole multi.
        if (!done) log(LogLevel::kWarn, "cannot watch", {{"error", done.error().message}});
        return 0;
    }

    static int onTimer(CURLM*, long ms, void* self) {
        static_cast<Impl*>(self)->timer_ = ms < 0 ? Deadline::never() : Deadline::in(now(), ms);
        return 0;
    }

    /// Carries out what was posted; false when it is time to end.
    bool obey() {
        std::vector<Command> commands;
        {
            std::lock_guard lock(mutex_);
            if (stopping_) return false;
            commands.swap(commands_);
        }
        for (auto& command : commands) {
            if (command.kind == Command::kStart) begin(std::move(command.transfer));
            if (command.kind == Command::kCancel) drop(command.id);
            if (command.kind == Command::kResume) proceed(command.id);
        }
        std::lock_guard lock(mutex_);
        done_ += commands.size();
        progressed_.notify_all();
        return true;
    }

    void begin(std::unique_ptr<Transfer> transfer) {
        auto& placed = *(transfers_[transfer->id()] = std::move(transfer));
        Transfer::EasyPtr spare;
        if (!spare_.empty() && !placed.pinned()) {
            spare = std::move(spare_.back());
            spare_.pop_back();
        }
        auto ready = placed.prepare(std::move(spare));
        if (ready && curl().multi_add_handle(multi_.get(), placed.easy()) == CURLM_OK) return;
        placed.fail(ready ? Error(ErrorCode::kInternal, "libcurl refuses the transfer")
                          : std::move(ready.error()));
        transfers_.erase(placed.id());
    }

    void drop(TransferId id) {
        auto found = transfers_.find(id);
        if (found == transfers_.end()) return;
        found->second->mute();
        curl().multi_remove_handle(multi_.get(), found->second->easy());
        transfers_.erase(found);
    }

    void proceed(TransferId id) {
        auto found = transfers_.find(id);
        if (found != transfers_.end() && !found->second->muted())
            curl().easy_pause(found->second->easy(), CURLPAUSE_CONT);
    }

    void collect() {
        int left = 0;
        while (CURLMsg* message = curl().multi_info_read(multi_.get(), &left)) {
            if (message->msg != CURLMSG_DONE) continue;
            auto code = message->data.result;
            char* self = nullptr;
            curl().easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &self);
            auto id = reinterpret_cast<Transfer*>(self)->id();
            auto found = transfers_.find(id);
            if (found == transfers_.end()) continue;
            // Out of the map first: on_done may cancel, start or end whatever it likes.
            auto transfer = std::move(found->second);
            transfers_.erase(found);
            transfer->finish(code);
            curl().multi_remove_handle(multi_.get(), transfer->easy());
            if (spare_.size() < kSpareHandles && !transfer->pinned())
                spare_.push_back(transfer->takeEasy());
        }
    }

    // The curl thread's, and used by the multi to its end.
    os::Epoll epoll_;
    std::unordered_set<curl_socket_t> watched_;
    Deadline timer_ = Deadline::never();  ///< when curl wants to look for itself

    os::EventFd wake_;
    std::unique_ptr<CURLM, MultiDeleter> multi_;
    std::map<TransferId, std::unique_ptr<Transfer>> transfers_;  ///< the curl thread's
    std::vector<Transfer::EasyPtr> spare_;                       ///< the same
    std::atomic<TransferId> last_id_ = 0;
    std::mutex mutex_;
    std::condition_variable progressed_;
    std::vector<Command> commands_;
    std::uint64_t posted_ = 0;
    std::uint64_t done_ = 0;  ///< of posted_, carried out
    bool asleep_ = false;     ///< waits in epoll: who posts must signal
    bool stopping_ = false;
    bool ended_ = false;
    std::thread thread_;
};

CurlMulti::CurlMulti(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CurlMulti::~CurlMulti() = default;

Result<std::unique_ptr<CurlMulti>> CurlMulti::create() {
    auto impl = std::make_unique<Impl>();
    AEGIS_CHECK(impl->start());
    return std::unique_ptr<CurlMulti>(new CurlMulti(std::move(impl)));
}

TransferId CurlMulti::start(CurlRequest request, CurlCallbacks callbacks) {
    return impl_->add(std::move(request), std::move(callbacks));
}
void CurlMulti::cancel(TransferId id) { impl_->cancel(id); }
void CurlMulti::resume(TransferId id) { impl_->resume(id); }

}  // namespace aegis::net
