#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "os/worker_pool.h"
#include "ports/journal.h"

namespace aegis::service {

/// One event of the node as every watcher gets it: encoded once.
struct NodeEventText {
    std::string cursor;
    std::string json;  ///< the API's form with "agent_name" and "cursor", one line
    std::string sse;   ///< the same as a server-sent event whose id is the cursor
};
/// Shared: the same bytes wait in many watchers' queues.
using NodeEventTextPtr = std::shared_ptr<const NodeEventText>;

NodeEventTextPtr encodeNodeEvent(const ports::NodeEvent& event);
/// The API's form: the event with "agent_name" and "cursor".
json::Object nodeEventJson(const ports::NodeEvent& event);

/// Follows the node's events, agents' too, in commit order: each watcher gets every event behind
/// its cursor that passes its filter, once. One thread of its own reads the journal when poked and
/// calls the watchers; nothing is read while nobody watches. Safe on any thread.
class NodeFeed {
  public:
    struct Watcher {
        /// Must not block nor call the feed; false ends the watch.
        std::function<bool(const NodeEventTextPtr&)> deliver;
        /// The journal could not be read; nothing comes after it. May be empty.
        std::function<void(const Error&)> failed;
    };
    using Subscription = std::uint64_t;

    explicit NodeFeed(ports::Journal& journal);
    ~NodeFeed();  ///< no callback afterwards

    /// Something was committed. Never blocks on the store.
    void poke();
    /// `from` gives the cursor and the filter; its limit is not used.
    Subscription subscribe(ports::NodeEventFilter from, Watcher watcher);
    /// After it returns the watcher is neither running nor called again. Not from inside one.
    void unsubscribe(Subscription subscription);

  private:
    struct Entry {
        ports::NodeEventFilter filter;  ///< its cursor moves
        Watcher watcher;
        bool live = false;  ///< at `order`; else it has to catch up by itself
        std::int64_t order = 0;
    };
    using Entries = std::map<Subscription, Entry>;

    void pump();
    bool catchUp();
    bool readLive();
    bool give(Entry& entry, const ports::NodeEventPage& page);

    ports::Journal& journal_;
    std::atomic<std::size_t> count_ = 0;
    std::atomic<bool> pending_ = false;
    std::mutex mutex_;
    Entries entries_;
    Subscription next_ = 1;
    os::WorkerPool pool_;  ///< last: its thread uses all else
};

}  // namespace aegis::service
