#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "os/worker_pool.h"
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
/// on a thread of its own, so that the journal does not wait for a crowd of watchers, and must not
/// block. Safe on any thread.
class EventHub {
  public:
    using Callback = std::function<void(const EncodedEventPtr&)>;
    using Subscription = std::uint64_t;

    EventHub();
    Subscription subscribe(const ExecutionId& id, Callback callback);
    /// After it returns the callback is neither running nor called again. Not from inside a
    /// callback.
    void unsubscribe(Subscription subscription);

    /// The journal's observer. Waits only for room: if the watchers are 1,024 batches behind.
    void publish(const ExecutionId& id, const AgentId& agent,
                 const std::vector<execution::Event>& events);

  private:
    using Events = std::vector<EncodedEventPtr>;
    bool isWatched(const ExecutionId& id);
    void tell(const ExecutionId& id, const Events& events);

    std::mutex mutex_;
    Subscription next_ = 1;
    std::map<ExecutionId, std::map<Subscription, Callback>> watchers_;
    std::map<Subscription, ExecutionId> where_;

    /// What publish() needs, never held while watchers are told.
    std::mutex door_;
    std::condition_variable room_;
    std::map<ExecutionId, std::size_t> counts_;  ///< of watchers_
    std::size_t queued_ = 0;
    os::WorkerPool pool_;  ///< last: its jobs use the rest
};

}  // namespace aegis::service
