#include "store/sqlite/execution_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <limits>

#include "store/sqlite/event_rows.h"

namespace aegis::store {
namespace {

#define AEGIS_EXECUTION_COLUMNS                                                                  \
    "exec_no, id, agent_id, agent_name, agent_revision, status, labels, max_iterations, "        \
    "total_iterations, created_ms, started_ms, ended_ms, failure_code, failure_message, calls, " \
    "prompt_tokens, completion_tokens, cost_usd, last_seq, last_chain"

constexpr int kStatuses = static_cast<int>(execution::Status::kCancelled) + 1;
constexpr int kMaxPage = 10'000;

StoredExecution readRow(const Query& q) {
    StoredExecution out;
    auto& row = out.row;
    out.exec_no = q.integer(0);
    row.id = ExecutionId::parse(q.bytes(1)).value_or(ExecutionId());
    row.agent_id = AgentId::parse(q.bytes(2)).value_or(AgentId());
    row.agent_name = q.text(3);
    row.agent_revision = static_cast<int>(q.integer(4));
    row.status =
        static_cast<execution::Status>(std::clamp<std::int64_t>(q.integer(5), 0, kStatuses - 1));
    row.labels = decodeMap(q.bytes(6));
    row.max_iterations = static_cast<int>(q.integer(7));
    row.total_iterations = static_cast<int>(q.integer(8));
    row.created_at.ms = q.integer(9);
    row.started_at.ms = q.integer(10);
    row.ended_at.ms = q.integer(11);
    row.failure = {q.text(12), q.text(13)};
    row.usage = {static_cast<std::uint64_t>(q.integer(14)),
                 static_cast<std::uint64_t>(q.integer(15)),
                 static_cast<std::uint64_t>(q.integer(16)), q.real(17)};
    row.last_seq = static_cast<std::uint64_t>(q.integer(18));
    out.last_chain = q.text(19);
    return out;
}

// One descending source of exec_no. `ahead` are its numbers from some bound on, as many as were
// asked for at once: the front is the answer for any bound between it and the one asked about.
struct Source {
    std::string_view sql;
    std::string key, value;
    int status = -1;
    std::deque<std::int64_t> ahead = {};
    bool ended = false;  ///< there is nothing behind `ahead`
};

Query ask(Database& db, const Source& s, std::int64_t bound, std::int64_t most) {
    Query q = db.query(s.sql);
    if (!s.value.empty() || !s.key.empty()) {
        if (s.status >= 0) return std::move(q).bind(s.key, s.status, bound, most);
        return std::move(q).bind(s.key, s.value, bound, most);
    }
    if (s.status >= 0) return std::move(q).bind(s.status, bound, most);
    return std::move(q).bind(bound, most);
}

// Makes the greatest number of `s` at or below `bound` the front; none: there is none.
Status seek(Database& db, Source& s, std::int64_t bound, std::int64_t most) {
    while (!s.ahead.empty() && s.ahead.front() > bound)
        s.ahead.pop_front();
    if (s.ended || !s.ahead.empty()) return {};
    Query q = ask(db, s, bound, most);
    while (true) {
        AEGIS_TRY(bool found, q.step());
        if (!found) break;
        s.ahead.push_back(q.integer(0));
    }
    s.ended = static_cast<std::int64_t>(s.ahead.size()) < most;
    return {};
}

// A condition: any of its sources.
using Condition = std::vector<Source>;

Result<std::optional<std::int64_t>> seek(Database& db, Condition& condition, std::int64_t bound,
                                         std::int64_t most) {
    std::optional<std::int64_t> best;
    for (auto& source : condition) {
        AEGIS_CHECK(seek(db, source, bound, most));
        if (!source.ahead.empty() && (!best || source.ahead.front() > *best))
            best = source.ahead.front();
    }
    return best;
}

// The greatest number at or below `bound` that all conditions have. Who is alone reads a page at
// once; several leap over what the others do not have.
Result<std::optional<std::int64_t>> meet(Database& db, std::vector<Condition>& conditions,
                                         std::int64_t bound, std::size_t page) {
    constexpr std::int64_t kLeap = 16;
    auto most = conditions.size() == 1 ? static_cast<std::int64_t>(page) + 1 : kLeap;
    std::size_t agreed = 0;
    for (std::size_t i = 0; agreed < conditions.size(); i = (i + 1) % conditions.size()) {
        AEGIS_TRY(auto found, seek(db, conditions[i], bound, most));
        if (!found) return found;
        agreed = *found == bound ? agreed + 1 : 1;
        bound = *found;
    }
    return std::optional(bound);
}

Source all() {
    return {"SELECT exec_no FROM executions WHERE exec_no <= ? ORDER BY exec_no DESC LIMIT ?",
            {},
            {},
            -1};
}
Source ofStatus(int status) {
    return {
        "SELECT exec_no FROM executions WHERE status = ? AND exec_no <= ? "
        "ORDER BY exec_no DESC LIMIT ?",
        {},
        {},
        status};
}
Source ofAgent(const std::string& id, int status) {
    return {
        "SELECT exec_no FROM executions WHERE agent_id = ? AND status = ? AND exec_no <= ? "
        "ORDER BY exec_no DESC LIMIT ?",
        id,
        {},
        status};
}
Source ofLabel(const std::string& key, const std::string& value) {
    return {
        "SELECT exec_no FROM execution_labels WHERE key = ? AND value = ? AND exec_no <= ? "
        "ORDER BY exec_no DESC LIMIT ?",
        key, value, -1};
}

Result<Condition> agentCondition(Database& db, const ports::ExecutionFilter& filter) {
    Condition out;
    auto add = [&](const std::string& id) {
        for (int status = 0; status < kStatuses; ++status) {
            if (!filter.status || static_cast<int>(*filter.status) == status)
                out.push_back(ofAgent(id, status));
        }
    };
    if (AgentId::parse(filter.agent)) {
        add(filter.agent);
        return out;
    }
    Query q =
        db.query("SELECT agent_id FROM execution_agents WHERE agent_name = ?").bind(filter.agent);
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return out;
        add(q.text(0));
    }
}

Result<std::vector<Condition>> conditionsOf(Database& db, const ports::ExecutionFilter& filter) {
    std::vector<Condition> out;
    if (!filter.agent.empty()) {
        AEGIS_TRY(auto agent, agentCondition(db, filter));
        out.push_back(std::move(agent));
    } else if (filter.status) {
        out.push_back({ofStatus(static_cast<int>(*filter.status))});
    }
    for (const auto& [key, value] : filter.labels)
        out.push_back({ofLabel(key, value)});
    if (out.empty()) out.push_back({all()});
    return out;
}

// The least exec_no that can have been created at or after `since` (see latest_ms in the schema).
Result<std::int64_t> firstSince(Database& db, UtcTime since) {
    AEGIS_TRY(std::int64_t high,
              db.integer("SELECT coalesce(max(exec_no), 0) + 1 FROM executions"));
    std::int64_t low = 0;
    while (low < high) {
        std::int64_t middle = low + (high - low) / 2;
        Query q = db.query(
                        "SELECT exec_no, latest_ms FROM executions WHERE exec_no >= ? "
                        "ORDER BY exec_no LIMIT 1")
                      .bind(middle);
        AEGIS_TRY(bool row, q.step());
        if (!row || q.integer(1) >= since.ms)
            high = middle;
        else
            low = q.integer(0) + 1;
    }
    return low;
}

// The rows of these numbers, newest first. One that is gone meanwhile is left out.
Result<std::vector<StoredExecution>> readNumbers(Database& db,
                                                 const std::vector<std::int64_t>& numbers) {
    auto list = fmt::format("[{}]", fmt::join(numbers, ","));
    Query q = db.query("SELECT " AEGIS_EXECUTION_COLUMNS
                       " FROM executions WHERE exec_no IN (SELECT value FROM json_each(?)) "
                       "ORDER BY exec_no DESC")
                  .bind(list);
    std::vector<StoredExecution> out;
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return out;
        out.push_back(readRow(q));
    }
}

Result<std::vector<ports::ExecutionRow>> readRows(Query q) {
    std::vector<ports::ExecutionRow> out;
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return out;
        out.push_back(readRow(q).row);
    }
}

}  // namespace

Result<StoredExecution> findExecution(Database& db, const ExecutionId& id) {
    Query q =
        db.query("SELECT " AEGIS_EXECUTION_COLUMNS " FROM executions WHERE id = ?").bind(id.str());
    AEGIS_TRY(bool row, q.step());
    if (!row) return {ErrorCode::kNotFound, fmt::format("no execution {}", id.str())};
    return readRow(q);
}

Result<ports::ExecutionPage> listExecutions(Database& db, const ports::ExecutionFilter& filter) {
    std::int64_t bound = std::numeric_limits<std::int64_t>::max();
    if (!filter.cursor.empty()) {
        AEGIS_TRY(std::int64_t last, parseCursor('e', filter.cursor));
        bound = last - 1;
    }
    std::int64_t least = 0;
    if (filter.since) {
        AEGIS_TRY(least, firstSince(db, *filter.since));
    }
    AEGIS_TRY(auto conditions, conditionsOf(db, filter));
    auto limit = static_cast<std::size_t>(std::clamp(filter.limit, 1, kMaxPage));
    ports::ExecutionPage page;
    std::int64_t last_shown = 0;
    for (bool ended = false; !ended;) {
        std::vector<std::int64_t> numbers;
        while (!ended && numbers.size() <= limit - page.rows.size()) {
            AEGIS_TRY(auto number, meet(db, conditions, bound, limit));
            ended = !number || *number < least;
            if (ended) break;
            bound = *number - 1;
            numbers.push_back(*number);
        }
        AEGIS_TRY(auto found, readNumbers(db, numbers));
        for (auto& one : found) {
            if (filter.since && one.row.created_at < *filter.since) continue;
            if (page.rows.size() == limit) {
                page.next_cursor = makeCursor('e', last_shown);
                return page;
            }
            page.rows.push_back(std::move(one.row));
            last_shown = one.exec_no;
        }
    }
    return page;
}

Result<std::vector<ports::ExecutionRow>> unfinishedExecutions(Database& db) {
    return readRows(db.query("SELECT " AEGIS_EXECUTION_COLUMNS
                             " FROM executions WHERE status IN (?, ?) ORDER BY exec_no")
                        .bind(static_cast<int>(execution::Status::kPending),
                              static_cast<int>(execution::Status::kRunning)));
}

Result<std::vector<ExecutionId>> executionsEndedBefore(Database& db, UtcTime time,
                                                       std::int64_t limit) {
    AEGIS_TRY(std::int64_t younger, firstSince(db, UtcTime{time.ms + 1}));
    Query q = db.query(
                    "SELECT id FROM executions WHERE exec_no < ? AND status NOT IN (?, ?)"
                    " AND ended_ms <= ? ORDER BY exec_no LIMIT ?")
                  .bind(younger, static_cast<int>(execution::Status::kPending),
                        static_cast<int>(execution::Status::kRunning), time.ms, limit);
    std::vector<ExecutionId> out;
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return out;
        if (auto id = ExecutionId::parse(q.bytes(0))) out.push_back(*id);
    }
}

std::string makeCursor(char kind, std::int64_t number) {
    return fmt::format("{}{:x}", kind, number);
}

Result<std::int64_t> parseCursor(char kind, const std::string& cursor) {
    std::int64_t number = -1;
    const char* end = cursor.data() + cursor.size();
    bool ok = cursor.size() >= 2 && cursor.front() == kind && cursor[1] != '-';
    if (ok) {
        auto [at, ec] = std::from_chars(cursor.data() + 1, end, number, 16);
        ok = ec == std::errc() && at == end;
    }
    if (!ok) return {ErrorCode::kInvalid, "the cursor is not one that this daemon gave out"};
    return number;
}

}  // namespace aegis::store
