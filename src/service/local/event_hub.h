#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ports/journal.h"

namespace aegis::service {

/// One event as every watcher gets it: encoded once.
struct EncodedEvent {
    std::uint64_t seq = 0;
    std::string json;  ///< the API's form, one line
    std::string sse;   ///< the same as a server-sent event with its id
    bool terminal = false;
};
/// Shared: the same bytes wait in many watchers' queues.
using EncodedEventPtr = std::shared_ptr<const EncodedEvent>;

EncodedEventPtr encodeEvent(const execution::Event& event, const ExecutionId& execution,
                            const AgentId& agent);

/// Tells watchers of an execution about its events once they are durable, in order. Callbacks run
/// on the journal's writer thread and must not block. Safe on any thread.
class EventHub {
  public:
    using Callback = std::function<void(const EncodedEventPtr&)>;
    using Subscription = std::uint64_t;

    Subscription subscribe(const ExecutionId& id, Callback callback);
    /// After it returns the callback is neither running nor called again. Not from inside a
    /// callback.
    void unsubscribe(Subscription subscription);

    /// The journal's observer.
    void publish(const ExecutionId& id, const AgentId& agent,
                 const std::vector<execution::Event>& events);

  private:
    std::mutex mutex_;
    Subscription next_ = 1;
    std::map<ExecutionId, std::map<Subscription, Callback>> watchers_;
    std::map<Subscription, ExecutionId> where_;
};

}  // namespace aegis::service
