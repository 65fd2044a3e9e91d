#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "store/sqlite/event_rows.h"
#include "store/sqlite/execution_rows.h"
#include "store/sqlite/journal.h"
#include "text/digest.h"

namespace aegis::store {
namespace {

constexpr std::size_t kMaxEvents = 100'000;

std::int64_t sqlLimit(std::size_t limit) {
    return static_cast<std::int64_t>(std::min(limit, kMaxEvents));
}

Result<std::int64_t> numberOf(Database& db, const ExecutionId& id) {
    Query q = db.query("SELECT exec_no FROM executions WHERE id = ?").bind(id.str());
    AEGIS_TRY(bool row, q.step());
    if (!row) return {ErrorCode::kNotFound, fmt::format("no execution {}", id.str())};
    return q.integer(0);
}

Result<execution::Event> readEvent(const Query& q, const ExecutionId& id) {
    auto name = eventName(id, static_cast<std::uint64_t>(q.integer(0)));
    AEGIS_TRY(EventRow row, readEventRow(q, 0, name));
    execution::Event event = row.head();
    AEGIS_TRY(event.data, decodeEvent(row, name));
    return event;
}

// An agent's event has no execution and no seq.
json::Object agentEvent(const EventRow& row, const std::string& agent_id, json::Value data) {
    json::Object out;
    out["time"] = row.time.rfc3339();
    out["agent_id"] = agent_id;
    out["type"] = row.type;
    out["data"] = std::move(data);
    return out;
}

// Columns: node_no, execution id, its agent's id, agent id, agent's name, the event's.
Result<ports::NodeEvent> readNodeEvent(const Query& q) {
    auto id = ExecutionId::parse(q.bytes(1));
    auto name = id ? eventName(*id, static_cast<std::uint64_t>(q.integer(5)))
                   : fmt::format("event {} of agent {}", q.integer(0), q.text(3));
    AEGIS_TRY(EventRow row, readEventRow(q, 5, name));
    auto data = json::parse(row.bytes);
    if (!data || !data->is_object())
        return {ErrorCode::kInternal, fmt::format("{} is damaged (no JSON)", name)};
    ports::NodeEvent out;
    out.order = q.integer(0);
    out.cursor = makeCursor('n', out.order);
    out.time = row.time;
    out.agent_name = q.text(4);
    if (id) {
        out.event = execution::envelopeJson(row.head(), row.type, std::move(data->get_object()),
                                            *id, AgentId::parse(q.bytes(2)).value_or(AgentId()));
    } else {
        out.event = agentEvent(row, q.text(3), std::move(*data));
    }
    return out;
}

// ?1 after, ?2 newest, ?3 since, ?4 agent or empty, ?5 types as a JSON list, ?6 limit.
constexpr const char* kNodeEvents =
    "SELECT n.node_no, x.id, x.agent_id, n.agent_id, coalesce(x.agent_name, a.name), "
    AEGIS_EVENT_COLUMNS
    " FROM events n LEFT JOIN executions x ON x.exec_no = n.exec_no"
    " LEFT JOIN agents a ON a.id = n.agent_id"
    " WHERE n.node_no > ?1 AND n.node_no <= ?2 AND n.time_ms >= ?3"
    " AND (?4 = '' OR ?4 IN (x.agent_id, x.agent_name, n.agent_id, a.name))"
    " AND (?5 = '[]' OR n.type IN (SELECT value FROM json_each(?5)))"
    " ORDER BY n.node_no LIMIT ?6";

std::string typesJson(const std::vector<std::string>& types) {
    json::Array out;
    for (const auto& type : types) out.push_back(json::Value(type));
    return json::dump(out);
}

Result<std::int64_t> newestNodeNumber(Database& db) {
    Query q = db.query("SELECT coalesce(max(node_no), 0) FROM events");
    AEGIS_TRY([[maybe_unused]] bool row, q.step());
    return q.integer(0);
}

}  // namespace

Result<std::vector<execution::Event>> SqliteJournal::events(const ExecutionId& id,
                                                            std::uint64_t after,
                                                            std::size_t limit) {
    auto db = readers_.take();
    AEGIS_TRY(std::int64_t exec_no, numberOf(*db, id));
    std::vector<execution::Event> out;
    if (after > execution::kMaxEventsPerExecution * 2) return out;
    Query q = db->query("SELECT " AEGIS_EVENT_COLUMNS
                        " FROM events WHERE exec_no = ? AND seq > ? ORDER BY seq LIMIT ?")
                  .bind(exec_no, after, sqlLimit(limit));
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return out;
        std::uint64_t expected = out.empty() ? after + 1 : out.back().seq + 1;
        if (static_cast<std::uint64_t>(q.integer(0)) != expected)
            return {ErrorCode::kInternal, fmt::format("{} is missing", eventName(id, expected))};
        AEGIS_TRY(execution::Event event, readEvent(q, id));
        out.push_back(std::move(event));
    }
}

Status SqliteJournal::verify(const ExecutionId& id) {
    auto db = readers_.take();
    AEGIS_TRY(StoredExecution stored, findExecution(*db, id));
    Query q = db->query("SELECT " AEGIS_EVENT_COLUMNS " FROM events WHERE exec_no = ? ORDER BY seq")
                  .bind(stored.exec_no);
    std::string chain = firstChain(id);
    std::uint64_t seq = 0;
    while (true) {
        AEGIS_TRY(bool more, q.step());
        if (!more) break;
        auto name = eventName(id, ++seq);
        if (static_cast<std::uint64_t>(q.integer(0)) != seq)
            return {ErrorCode::kInternal, fmt::format("{} is missing", name)};
        AEGIS_TRY(EventRow row, readEventRow(q, 0, name));
        chain = nextChain(chain, row.summed());
        if (chain != q.bytes(9))
            return {ErrorCode::kInternal, fmt::format("{} is not the one that was written", name)};
    }
    if (seq != stored.row.last_seq || chain != stored.last_chain)
        return {ErrorCode::kInternal, fmt::format("{} is missing", eventName(id, seq + 1))};
    return {};
}

Result<std::string> SqliteJournal::body(const ExecutionId& id, const execution::BodyRef& ref) {
    if (!isDigest(ref.sha256)) return {ErrorCode::kInvalid, "not the name of a body"};
    std::uint64_t size = 0;
    {
        auto db = readers_.take();
        AEGIS_TRY(std::int64_t exec_no, numberOf(*db, id));
        std::string digest = rawDigest(ref.sha256);
        Query q = db->query("SELECT size, bytes FROM bodies WHERE exec_no = ? AND sha256 = ?")
                      .bind(exec_no, Blob{digest});
        AEGIS_TRY(bool row, q.step());
        if (!row) {
            return {ErrorCode::kNotFound,
                    fmt::format("execution {} has no body {}", id.str(), ref.sha256)};
        }
        size = static_cast<std::uint64_t>(q.integer(0));
        if (!q.isNull(1)) {
            std::string bytes = q.text(1);
            if (text::sha256(bytes) == digest) return bytes;
            return {ErrorCode::kInternal,
                    fmt::format("body {} of execution {} is damaged", ref.sha256, id.str())};
        }
    }
    return files_.read(id, ref.sha256, size);
}

Result<ports::ExecutionRow> SqliteJournal::row(const ExecutionId& id) {
    auto db = readers_.take();
    AEGIS_TRY(StoredExecution stored, findExecution(*db, id));
    return std::move(stored.row);
}

Result<ports::ExecutionPage> SqliteJournal::list(const ports::ExecutionFilter& filter) {
    auto db = readers_.take();
    return listExecutions(*db, filter);
}

Result<std::vector<ports::ExecutionRow>> SqliteJournal::unfinished() {
    auto db = readers_.take();
    return unfinishedExecutions(*db);
}

Result<std::vector<ExecutionId>> SqliteJournal::endedBefore(UtcTime time, std::size_t limit) {
    auto db = readers_.take();
    return executionsEndedBefore(*db, time, sqlLimit(limit));
}

Result<std::vector<ExecutionId>> SqliteJournal::idsByPrefix(const std::string& prefix, int limit) {
    std::vector<ExecutionId> out;
    if (prefix.find_first_not_of("0123456789abcdef-") != std::string::npos) return out;
    auto db = readers_.take();
    // 'g' sorts behind every character of an id.
    Query q =
        prefix.empty()
            ? db->query("SELECT id FROM executions ORDER BY exec_no DESC LIMIT ?").bind(limit)
            : db->query("SELECT id FROM executions WHERE id >= ? AND id < ? ORDER BY id LIMIT ?")
                  .bind(prefix, prefix + "g", limit);
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return out;
        if (auto id = ExecutionId::parse(q.bytes(0))) out.push_back(*id);
    }
}

Result<std::optional<ExecutionId>> SqliteJournal::byIdempotencyKey(const AgentId& agent,
                                                                   const std::string& key,
                                                                   std::string& digest) {
    auto db = readers_.take();
    Query q = db->query(
                    "SELECT e.id, i.digest FROM idempotency i JOIN executions e USING (exec_no) "
                    "WHERE i.agent_id = ? AND i.key = ?")
                  .bind(agent.str(), key);
    AEGIS_TRY(bool row, q.step());
    if (!row) return std::optional<ExecutionId>();
    digest = q.text(1);
    return ExecutionId::parse(q.bytes(0));
}

Result<ports::NodeEventPage> SqliteJournal::nodeEvents(const ports::NodeEventFilter& filter) {
    std::int64_t after = 0;
    bool only_new = filter.cursor == ports::NodeEventFilter::kNewest;
    if (!filter.cursor.empty() && !only_new) {
        AEGIS_TRY(after, parseCursor('n', filter.cursor));
    }
    auto db = readers_.take();
    // Read first: what is committed between the two reads belongs to the next page.
    AEGIS_TRY(auto newest, newestNodeNumber(*db));
    newest = std::max(newest, after);
    if (only_new) after = newest;
    constexpr auto kAlways = std::numeric_limits<std::int64_t>::min();
    Query q = db->query(kNodeEvents)
                  .bind(after, newest, filter.since ? filter.since->ms : kAlways, filter.agent,
                        typesJson(filter.types), sqlLimit(filter.limit));
    ports::NodeEventPage page;
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) break;
        AEGIS_TRY(ports::NodeEvent event, readNodeEvent(q));
        page.events.push_back(std::move(event));
    }
    page.order = page.events.size() < filter.limit ? newest : page.events.back().order;
    // Of an empty journal the newest is the first that comes.
    auto none = only_new ? std::string() : filter.cursor;
    page.cursor = page.order == 0 ? none : makeCursor('n', page.order);
    return page;
}

}  // namespace aegis::store
