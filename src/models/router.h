#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "models/call.h"

namespace aegis::models {

/// The node's models: aliases, fall-back, retries. Holds the catalog of providers that new calls
/// use and the calls under way. Any thread; nothing blocks but the destructor.
class Router : public ports::Models {
  public:
    /// Looks for an Ollama at once, without waiting, if the catalog says so. `clock` and `random`
    /// outlive the router.
    Router(std::unique_ptr<HttpOut> http, std::unique_ptr<Timers> timers, Clock& clock,
           Random& random, Catalog catalog);
    /// Cancels what is under way; each done() has come when it returns.
    ~Router() override;
    Router(const Router&) = delete;
    Router& operator=(const Router&) = delete;

    /// New calls use `catalog`; those under way end with the providers they have.
    void reload(Catalog catalog);

    CallId start(ports::ModelRequest request, Deadline deadline, ports::ModelSink sink) override;
    void cancel(CallId id) override;
    std::vector<std::string> aliases() const override;
    Result<ports::Price> price(const std::string& alias) const override;

  private:
    using CallPtr = std::shared_ptr<Call>;  ///< shared with what the call waits for
    struct Waiting {
        std::string alias;
        CallPtr call;
    };

    void probeOllama();
    void probed(const net::CurlResult& result);
    void forget(CallId id);

    std::unique_ptr<HttpOut> http_;
    std::unique_ptr<Timers> timers_;
    Clock& clock_;
    Random& random_;

    mutable std::mutex mutex_;  ///< guards all below but probe_body_
    /// shared_ptr: read without the lock while a reload replaces it.
    std::shared_ptr<const Catalog> catalog_;
    std::map<CallId, CallPtr> calls_;
    CallId last_id_ = 0;
    bool probing_ = false;
    net::TransferId probe_ = 0;
    std::vector<Waiting> waiting_;  ///< for the probe
    std::string probe_body_;        ///< the transfers' thread only
};

}  // namespace aegis::models
