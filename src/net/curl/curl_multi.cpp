#include "net/curl/curl_multi.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <thread>

#include "net/curl/library.h"
#include "net/curl/transfer.h"

namespace aegis::net {
namespace {

constexpr long kIdleConnections = 64;
constexpr int kPollMs = 60'000;

struct MultiDeleter {
    void operator()(CURLM* multi) const { curl().multi_cleanup(multi); }
};

}  // namespace

class CurlMulti::Impl {
  public:
    ~Impl() {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        if (multi_) curl().multi_wakeup(multi_.get());
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
        {
            std::lock_guard lock(mutex_);
            commands_.push_back(std::move(command));
            ticket = ++posted_;
        }
        curl().multi_wakeup(multi_.get());
        return ticket;
    }

    void loop() {
        // With NOSIGNAL curl leaves SIGPIPE to its user.
        sigset_t signals;
        ::sigfillset(&signals);
        ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
        while (obey()) {
            int running = 0;
            curl().multi_perform(multi_.get(), &running);
            collect();
            curl().multi_poll(multi_.get(), nullptr, 0, idle() ? kPollMs : 0, nullptr);
        }
        std::lock_guard lock(mutex_);
        ended_ = true;
        progressed_.notify_all();
    }

    bool idle() {
        std::lock_guard lock(mutex_);
        return commands_.empty() && !stopping_;
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
        auto ready = placed.prepare();
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
        }
    }

    std::unique_ptr<CURLM, MultiDeleter> multi_;
    std::map<TransferId, std::unique_ptr<Transfer>> transfers_;  ///< the curl thread's
    std::atomic<TransferId> last_id_ = 0;
    std::mutex mutex_;
    std::condition_variable progressed_;
    std::vector<Command> commands_;
    std::uint64_t posted_ = 0;
    std::uint64_t done_ = 0;  ///< of posted_, carried out
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
