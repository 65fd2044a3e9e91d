#include <fmt/format.h>

#include <algorithm>

#include "store/sqlite/crc32c.h"
#include "store/sqlite/event_rows.h"
#include "store/sqlite/execution_rows.h"
#include "store/sqlite/journal.h"

namespace aegis::store {

/// A batch on its way to the writer.
struct EncodedBatch {
    struct Event {
        EventRow row;
        std::string summed;
        std::uint32_t crc = 0;
    };
    ports::Batch batch;
    std::vector<Event> events;
    ports::Journal::Committed done;
    bool has_files = false;
    Tail tail;  ///< set by the writer: where the execution ends with this
    /// Set by the writer: an execution of this id is stored already, its files are not ours to
    /// remove.
    bool exists = false;

    bool creates() const { return batch.expected_seq == 0; }
};

namespace {

using execution::kMaxEventsPerExecution;

// What a correct caller never sends.
Status check(const ports::Batch& batch) {
    if (batch.execution.empty()) return {ErrorCode::kInvalid, "a batch without an execution"};
    std::uint64_t seq = batch.expected_seq;
    for (const auto& event : batch.events) {
        if (event.seq != ++seq)
            return {ErrorCode::kInvalid,
                    fmt::format("a batch with event {} in place of {}", event.seq, seq)};
    }
    if (seq == 0) return {ErrorCode::kInvalid, "a first batch without events"};
    for (const auto& body : batch.bodies) {
        if (!body.bytes || !isDigest(body.ref.sha256) || body.ref.size != body.bytes->size())
            return {ErrorCode::kInvalid, "a batch with a body that is not what it says"};
    }
    return {};
}

// Beyond the limit only what ends an execution is taken.
Status checkLength(const EncodedBatch& b) {
    std::uint64_t last = b.batch.expected_seq + b.events.size();
    if (last <= kMaxEventsPerExecution || execution::isTerminal(b.batch.row.status)) return {};
    bool ending = std::ranges::any_of(b.batch.events, [](const execution::Event& e) {
        return std::holds_alternative<execution::OutcomeDecided>(e.data);
    });
    if (ending) return {};
    return {ErrorCode::kTooLarge, fmt::format("execution {} has more than {} events",
                                              b.batch.execution.str(), kMaxEventsPerExecution)};
}

Status insertExecution(Database& db, const ports::ExecutionRow& row, const ExecutionId& id,
                       const Tail& tail) {
    AEGIS_CHECK(
        db.query(
              "INSERT INTO executions (exec_no, id, agent_id, agent_name, agent_revision, status, "
              "labels, max_iterations, total_iterations, created_ms, started_ms, ended_ms, "
              "latest_ms, failure_code, failure_message, calls, prompt_tokens, "
              "completion_tokens, cost_usd, last_seq, last_chain) VALUES "
              "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, max(?, coalesce((SELECT latest_ms FROM "
              "executions ORDER BY exec_no DESC LIMIT 1), 0)), ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(tail.exec_no, id.str(), row.agent_id.str(), row.agent_name, row.agent_revision,
                  static_cast<int>(row.status), encodeMap(row.labels), row.max_iterations,
                  row.total_iterations, row.created_at.ms, row.started_at.ms, row.ended_at.ms,
                  row.created_at.ms, row.failure.code, row.failure.message, row.usage.calls,
                  row.usage.prompt_tokens, row.usage.completion_tokens, row.usage.cost_usd,
                  tail.seq, Blob{tail.chain})
            .run());
    for (const auto& [key, value] : row.labels) {
        AEGIS_CHECK(db.query("INSERT INTO execution_labels (key, value, exec_no) VALUES (?, ?, ?)")
                        .bind(key, value, tail.exec_no)
                        .run());
    }
    return db.query("INSERT OR IGNORE INTO execution_agents (agent_name, agent_id) VALUES (?, ?)")
        .bind(row.agent_name, row.agent_id.str())
        .run();
}

Status updateExecution(Database& db, const ports::ExecutionRow& row, const Tail& tail) {
    // What is indexed costs even where it stays what it is.
    if (static_cast<int>(row.status) != tail.status) {
        AEGIS_CHECK(db.query("UPDATE executions SET status = ? WHERE exec_no = ?")
                        .bind(static_cast<int>(row.status), tail.exec_no)
                        .run());
    }
    return db
        .query(
            "UPDATE executions SET max_iterations = ?, total_iterations = ?, started_ms = ?, "
            "ended_ms = ?, failure_code = ?, failure_message = ?, calls = ?, prompt_tokens = ?, "
            "completion_tokens = ?, cost_usd = ?, last_seq = ?, last_chain = ? WHERE exec_no = ?")
        .bind(row.max_iterations, row.total_iterations, row.started_at.ms, row.ended_at.ms,
              row.failure.code, row.failure.message, row.usage.calls, row.usage.prompt_tokens,
              row.usage.completion_tokens, row.usage.cost_usd, tail.seq, Blob{tail.chain},
              tail.exec_no)
        .run();
}

// Appends the events and moves the tail to the new end.
Status insertEvents(Database& db, Sequence& sequence, const EncodedBatch& b, Tail& tail) {
    for (const auto& [row, summed, crc] : b.events) {
        tail.chain = nextChain(tail.chain, summed);
        ++tail.seq;
        AEGIS_CHECK(db.query("INSERT INTO events (node_no, exec_no, " AEGIS_EVENT_COLUMNS
                             ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                        .bind(sequence.nextEvent(), tail.exec_no, row.seq, Text{row.type},
                              row.version, row.time.ms, row.iteration, row.candidate, row.sandbox,
                              Text{row.bytes}, std::int64_t{crc}, Blob{tail.chain})
                        .run());
    }
    return {};
}

Status insertBodies(Database& db, std::int64_t exec_no, const std::vector<ports::Body>& bodies) {
    for (const auto& body : bodies) {
        constexpr const char* kSql =
            "INSERT OR IGNORE INTO bodies (exec_no, sha256, size, bytes) VALUES (?, ?, ?, ?)";
        std::string digest = rawDigest(body.ref.sha256);
        bool is_file = body.bytes->size() > SqliteJournal::kMaxRowBytes;
        Query q =
            is_file ? db.query(kSql).bind(exec_no, Blob{digest}, body.ref.size, nullptr)
                    : db.query(kSql).bind(exec_no, Blob{digest}, body.ref.size, Blob{*body.bytes});
        AEGIS_CHECK(q.run());
    }
    return {};
}

Status takeClaims(Database& db, std::int64_t exec_no, const ports::Batch& batch) {
    if (batch.release_claims)
        AEGIS_CHECK(db.query("DELETE FROM claims WHERE exec_no = ?").bind(exec_no).run());
    for (const auto& claim : batch.release) {
        AEGIS_CHECK(db.query("DELETE FROM claims WHERE kind = ? AND key = ? AND exec_no = ?")
                        .bind(claim.kind, claim.key, exec_no)
                        .run());
    }
    for (const auto& claim : batch.acquire) {
        AEGIS_CHECK(db.query("INSERT OR IGNORE INTO claims (kind, key, exec_no) VALUES (?, ?, ?)")
                        .bind(claim.kind, claim.key, exec_no)
                        .run());
        Query q = db.query(
                        "SELECT e.exec_no, e.id FROM claims c JOIN executions e USING (exec_no) "
                        "WHERE c.kind = ? AND c.key = ?")
                      .bind(claim.kind, claim.key);
        AEGIS_TRY(bool held, q.step());
        if (held && q.integer(0) != exec_no) {
            return {ErrorCode::kConflict, fmt::format("{} {} is in use by execution {}", claim.kind,
                                                      claim.key, q.text(1))};
        }
    }
    return {};
}

Status takeKey(Database& db, std::int64_t exec_no, const ports::Batch& batch) {
    if (batch.idempotency_key.empty()) return {};
    AEGIS_CHECK(
        db.query("INSERT OR IGNORE INTO idempotency (agent_id, key, exec_no, digest) VALUES "
                 "(?, ?, ?, ?)")
            .bind(batch.row.agent_id.str(), batch.idempotency_key, exec_no,
                  batch.idempotency_digest)
            .run());
    if (db.changes() == 1) return {};
    return {ErrorCode::kConflict, "the idempotency key is already used"};
}

std::vector<ports::Body> largeBodies(const ports::Batch& batch) {
    std::vector<ports::Body> out;
    for (const auto& body : batch.bodies) {
        if (body.bytes->size() > SqliteJournal::kMaxRowBytes) out.push_back(body);
    }
    return out;
}

}  // namespace

SqliteJournal::SqliteJournal(Writer& writer, BlobStage& stage, BlobFiles& files, Readers& readers,
                             Sequence& sequence)
    : writer_(writer), stage_(stage), files_(files), readers_(readers), sequence_(sequence) {}

// What is not at hand is read. One taken out and not put back is read too: in the same transaction,
// or after it was undone.
Result<Tail> SqliteJournal::findTail(Database& db, EncodedBatch& b) {
    const auto& batch = b.batch;
    b.exists = !b.creates();
    if (auto known = tails_.extract(batch.execution);
        !known.empty() && known.mapped().seq == batch.expected_seq)
        return std::move(known.mapped());
    Query q = db.query("SELECT exec_no, last_seq, last_chain, status FROM executions WHERE id = ?")
                  .bind(batch.execution.str());
    AEGIS_TRY(b.exists, q.step());
    Tail tail;
    if (b.exists)
        tail = {q.integer(0), static_cast<std::uint64_t>(q.integer(1)), q.text(2),
                static_cast<int>(q.integer(3))};
    if (tail.seq != batch.expected_seq)
        return {ErrorCode::kConflict,
                fmt::format("execution {} is at event {}, not {}", batch.execution.str(), tail.seq,
                            batch.expected_seq)};
    if (!b.exists) tail = {sequence_.nextExecution(), 0, firstChain(batch.execution), -1};
    return tail;
}

Status SqliteJournal::write(Database& db, EncodedBatch& b) {
    const auto& batch = b.batch;
    AEGIS_TRY(Tail tail, findTail(db, b));
    AEGIS_CHECK(checkLength(b));
    AEGIS_CHECK(insertEvents(db, sequence_, b, tail));
    if (b.creates()) {
        AEGIS_CHECK(insertExecution(db, batch.row, batch.execution, tail));
        AEGIS_CHECK(takeKey(db, tail.exec_no, batch));
    } else {
        AEGIS_CHECK(updateExecution(db, batch.row, tail));
    }
    AEGIS_CHECK(insertBodies(db, tail.exec_no, batch.bodies));
    AEGIS_CHECK(takeClaims(db, tail.exec_no, batch));
    tail.status = static_cast<int>(batch.row.status);
    b.tail = std::move(tail);
    return {};
}

void SqliteJournal::append(ports::Batch batch, Committed done) {
    Job job;
    Status valid = check(batch);
    if (!valid) {
        job.work = [valid](Database&) { return valid; };
        job.done = std::move(done);
        writer_.submit(std::move(job));
        return;
    }
    // Shared: the job's two functions use it in turn, and std::function needs them copyable.
    auto encoded = std::make_shared<EncodedBatch>();
    for (const auto& event : batch.events) {
        auto& e = encoded->events.emplace_back();
        e.row = encodeEvent(event);
        e.summed = e.row.summed();
        e.crc = crc32c(e.summed);
        job.bytes += e.row.bytes.size();
    }
    auto large = largeBodies(batch);
    for (const auto& body : batch.bodies)
        job.bytes += body.bytes->size() > kMaxRowBytes ? 0 : body.bytes->size();
    encoded->batch = std::move(batch);
    encoded->done = std::move(done);
    encoded->has_files = !large.empty();
    job.may_wait = encoded->batch.durability >= execution::Durability::kSoon;
    job.needs_room = encoded->creates();
    job.may_block = encoded->batch.may_block && large.empty();
    job.work = [this, encoded](Database& db) { return write(db, *encoded); };
    job.done = [this, encoded](const Status& status) { committed(*encoded, status); };
    stage_.submit(encoded->batch.execution, std::move(large), std::move(job));
}

void SqliteJournal::committed(EncodedBatch& b, const Status& status) {
    constexpr std::size_t kMaxTails = 4096;
    if (status && !execution::isTerminal(b.batch.row.status)) {
        if (tails_.size() >= kMaxTails) tails_.clear();
        tails_[b.batch.execution] = std::move(b.tail);
    }
    if (!status) {
        if (b.creates() && b.has_files && !b.exists) (void)files_.removeAll(b.batch.execution);
    } else if (!b.batch.events.empty()) {
        std::shared_ptr<const Observers> observers;
        {
            std::lock_guard lock(mutex_);
            observers = observers_;
        }
        for (const auto& observer : *observers)
            observer(b.batch.execution, b.batch.row.agent_id, b.batch.events);
    }
    if (b.done) b.done(status);
}

void SqliteJournal::observe(Observer observer) {
    std::lock_guard lock(mutex_);
    auto observers = std::make_shared<Observers>(*observers_);
    observers->push_back(std::move(observer));
    observers_ = std::move(observers);
}

void SqliteJournal::unobserve() {
    // The writer answers in order: all that came before has been shown then.
    auto passed = [this] {
        (void)writer_.run([](Database&) { return Status(); }, false);
    };
    passed();
    {
        std::lock_guard lock(mutex_);
        observers_ = std::make_shared<Observers>();
    }
    passed();
}

Status SqliteJournal::remove(const ExecutionId& id) {
    Status removed = writer_.run(
        [this, id](Database& db) -> Status {
            AEGIS_TRY(StoredExecution stored, findExecution(db, id));
            if (!execution::isTerminal(stored.row.status)) {
                return {ErrorCode::kConflict, fmt::format("execution {} has not ended", id.str()),
                        "cancel it first"};
            }
            AEGIS_CHECK(sequence_.store(db));
            for (const char* sql :
                 {"DELETE FROM events WHERE exec_no = ?", "DELETE FROM bodies WHERE exec_no = ?",
                  "DELETE FROM claims WHERE exec_no = ?",
                  "DELETE FROM idempotency WHERE exec_no = ?",
                  "DELETE FROM execution_labels WHERE exec_no = ?",
                  "DELETE FROM executions WHERE exec_no = ?"}) {
                AEGIS_CHECK(db.query(sql).bind(stored.exec_no).run());
            }
            return {};
        },
        false);
    if (removed) (void)files_.removeAll(id);  // what a crash leaves here goes at the next start
    return removed;
}

Status SqliteJournal::releaseEnded() {
    return writer_.run(
        [](Database& db) {
            return db
                .query("DELETE FROM claims WHERE exec_no IN "
                       "(SELECT exec_no FROM executions WHERE status >= ?)")
                .bind(static_cast<int>(execution::Status::kCompleted))
                .run();
        },
        false);
}

}  // namespace aegis::store
