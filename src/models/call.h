#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "base/random.h"
#include "models/failure.h"
#include "models/provider.h"
#include "models/timers.h"

namespace aegis::models {

/// The part of net::CurlMulti that models use, so that tests can stand in for it. Callbacks never
/// run within start(); cancel() is as CurlMulti's.
class HttpOut {
  public:
    virtual ~HttpOut() = default;
    virtual net::TransferId start(net::CurlRequest request, net::CurlCallbacks callbacks) = 0;
    virtual void cancel(net::TransferId id) = 0;
};

/// What calls work with; outlives them.
struct CallServices {
    HttpOut& http;
    Timers& timers;
    Clock& clock;
    Random& random;
};

/// One model call: tries the providers in order, each up to three times, and tells the sink. Runs
/// on the thread of the timers or of the transfers, whichever it waits for, never on both at once;
/// only begin(), cancel() and abandon() may come from anywhere. Kept alive by what it waits for.
class Call : public std::enable_shared_from_this<Call> {
  public:
    /// `on_finished` runs right before the sink's done().
    Call(CallServices services, ports::ModelRequest request, Deadline deadline,
         ports::ModelSink sink, std::function<void()> on_finished);

    /// Goes on with these providers or this error; the sink is told later, on another thread. At
    /// most once.
    void begin(Result<std::vector<ProviderPtr>> providers);
    /// Aborts what is under way at once; done(kCancelled) comes on the timers' thread.
    void cancel();
    /// The same, with done(kCancelled) before it returns. For the end of the world.
    void abandon();

  private:
    bool stop();
    void tryProvider();
    void launch();
    void runScript();
    net::OnDataVerdict onData(std::string_view chunk);
    void onDone(net::CurlResult result);
    Failure failureOf(const net::CurlResult& result) const;
    void failed(Failure failure);
    std::optional<std::int64_t> waitBeforeRetry(const Failure& failure);
    void later(std::int64_t ms, void (Call::*next)());
    void succeeded(ports::ModelAnswer answer);
    void finish(Result<ports::ModelAnswer> result, bool by_cancel = false);
    const ProviderSettings& settings() const { return providers_[provider_]->settings; }
    DeltaFn deltaFn();
    void tell();

    CallServices services_;
    ports::ModelRequest request_;
    Deadline deadline_;
    ports::ModelSink sink_;
    std::function<void()> on_finished_;

    std::mutex mutex_;  ///< guards the four below
    bool cancelled_ = false;
    bool finished_ = false;
    std::optional<net::TransferId> transfer_;
    std::optional<Timers::TimerId> timer_;

    std::vector<ProviderPtr> providers_;
    std::size_t provider_ = 0;  ///< the one being tried
    int retries_ = 0;           ///< of it
    WireRequest wire_;
    std::unique_ptr<AnswerReader> reader_;
    int status_ = 0;
    std::string error_body_;
    std::string said_;        ///< not told yet
    bool delivered_ = false;  ///< a delta has reached the sink
    bool read_ = false;       ///< the answer was read whole; what still comes is dropped
    std::string failures_;    ///< of the providers given up, for the last error
};

}  // namespace aegis::models
