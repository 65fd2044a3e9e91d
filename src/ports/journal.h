#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "execution/state.h"

namespace aegis::ports {

/// A text to be stored beside the events that refer to it.
struct Body {
    execution::BodyRef ref;
    /// Shared: the same bytes may wait in a batch, a cache and a reply at once. Never null.
    std::shared_ptr<const std::string> bytes;
};
/// Computes the reference (SHA-256).
Body makeBody(std::string bytes);

/// A claim on something exclusive or limited, held by an execution from one batch to another.
struct Claim {
    std::string kind;  ///< "volume", or "budget": money that a call under way may cost
    std::string key;
    bool operator==(const Claim&) const = default;
};

/// What lists show of an execution without reading its events; written with each batch.
struct ExecutionRow {
    ExecutionId id;
    AgentId agent_id;
    std::string agent_name;
    int agent_revision = 0;
    execution::Status status = execution::Status::kNone;
    std::map<std::string, std::string> labels;
    int max_iterations = 0;
    int total_iterations = 0;
    UtcTime created_at, started_at, ended_at;  ///< ms 0: not yet
    execution::Failure failure;
    execution::Usage usage;
    std::uint64_t last_seq = 0;
};

/// One atomic append. Either all of it is stored or nothing.
struct Batch {
    ExecutionId execution;
    std::uint64_t expected_seq =
        0;  ///< of the last stored event; else the batch is refused (kConflict)
    std::vector<execution::Event> events;  ///< seq = expected_seq + 1, ...
    std::vector<Body> bodies;
    std::vector<Claim> acquire;  ///< refused (kConflict) if another execution holds one
    std::vector<Claim> release;   ///< those of this execution that are no longer needed
    bool release_claims = false;  ///< all that this execution holds
    ExecutionRow row;
    std::string idempotency_key;  ///< with the first batch: unique per agent, else kConflict
    std::string idempotency_digest;  ///< of the request, to tell a repeat from a misuse
    /// kSoon: may wait up to 50 ms for company; the rest: at once.
    execution::Durability durability = execution::Durability::kBeforeEffect;
    /// The caller may wait for the disk: where nobody else writes it is made to write this itself.
    bool may_block = false;
};

struct ExecutionFilter {
    std::string agent;  ///< exact name (live or archived) or full id; empty: all
    std::optional<execution::Status> status;
    std::optional<UtcTime> since;  ///< created at or after
    std::map<std::string, std::string> labels;
    int limit = 50;
    std::string cursor;  ///< from an earlier page
};
struct ExecutionPage {
    std::vector<ExecutionRow> rows;  ///< newest first
    std::string next_cursor;         ///< empty: no more
};

/// An event of the whole node, with what the API needs to show it.
struct NodeEvent {
    std::string cursor;      ///< opaque; pass it as `after`
    std::int64_t order = 0;  ///< grows with each event of the node, in commit order
    UtcTime time;
    std::string agent_name;
    json::Object event;  ///< already in the API's form
};
struct NodeEventFilter {
    static constexpr std::string_view kNewest = "newest";
    /// Of an event or a page; empty: from the first; kNewest: after the newest.
    std::string cursor;
    std::optional<UtcTime> since;
    std::string agent;               ///< exact name (live or archived) or full id; empty: all
    std::vector<std::string> types;  ///< empty: all
    std::size_t limit = 100;
};
struct NodeEventPage {
    std::vector<NodeEvent> events;
    /// Everything up to here was looked at, whether it passed the filter or not.
    std::string cursor;
    std::int64_t order = 0;
};

/// The append-only store of executions: the one truth. Appends are written by one thread at a time
/// in group commits; reads come from other connections and see whole batches. Safe on any thread.
class Journal {
  public:
    virtual ~Journal() = default;

    /// Called once, by the thread that wrote it, when the batch is on disk or refused. Must not
    /// block.
    using Committed = std::function<void(Status)>;
    virtual void append(Batch batch, Committed done) = 0;

    /// Events with seq > after, in order, at most `limit`.
    virtual Result<std::vector<execution::Event>> events(const ExecutionId& id, std::uint64_t after,
                                                         std::size_t limit) = 0;
    virtual Result<std::string> body(const ExecutionId& id, const execution::BodyRef& ref) = 0;

    virtual Result<ExecutionRow> row(const ExecutionId& id) = 0;
    virtual Result<ExecutionPage> list(const ExecutionFilter& filter) = 0;
    /// Ids that begin with `prefix` (lower-case hex and dashes), at most `limit`; "" with limit 1
    /// and newest first gives the newest execution.
    virtual Result<std::vector<ExecutionId>> idsByPrefix(const std::string& prefix, int limit) = 0;
    /// All executions that have not ended, oldest first.
    virtual Result<std::vector<ExecutionRow>> unfinished() = 0;
    /// Executions that ended at or before `time`, oldest first, at most `limit`.
    virtual Result<std::vector<ExecutionId>> endedBefore(UtcTime time, std::size_t limit) = 0;
    virtual Result<std::optional<ExecutionId>> byIdempotencyKey(const AgentId& agent,
                                                                const std::string& key,
                                                                std::string& digest) = 0;
    /// Removes an ended execution with its events and bodies (kConflict if it has not ended).
    virtual Status remove(const ExecutionId& id) = 0;
    /// Gives up what executions that have ended still claim: locks of volumes whose sandbox was not
    /// proven dead then, and is now.
    virtual Status releaseEnded() = 0;

    /// The node's events, agents' too, after the cursor, in commit order. A page that is not full
    /// ends at the newest.
    virtual Result<NodeEventPage> nodeEvents(const NodeEventFilter& filter) = 0;

    /// Called after each commit by the thread that wrote it, one call at a time and in commit
    /// order, with what became visible.
    using Observer = std::function<void(const ExecutionId&, const AgentId&,
                                        const std::vector<execution::Event>&)>;
    virtual void observe(Observer observer) = 0;
    /// Forgets the observers, who have seen all that was appended before: none is called any more
    /// when this returns. Blocks for a commit; not from an observer.
    virtual void unobserve() = 0;
};

}  // namespace aegis::ports
