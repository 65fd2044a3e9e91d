#include "store/sqlite/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/sqlite/crc32c.h"
#include "store/sqlite/event_rows.h"
#include "store/sqlite/execution_rows.h"

namespace aegis::store {
namespace {

using ports::AgentRecord;
using ports::AgentStatus;

// Agents (a) joined with one of their revisions (r).
#define AEGIS_AGENT_COLUMNS                                                                \
    "a.agent_no, a.id, a.name, a.status, r.revision, r.version, r.description, r.labels, " \
    "r.annotations, a.created_ms, a.updated_ms, r.deployed_ms, r.manifest_yaml, r.manifest_json"
#define AEGIS_AGENT_NEWEST                                                               \
    "SELECT " AEGIS_AGENT_COLUMNS                                                        \
    " FROM agents a JOIN agent_revisions r ON r.agent_no = a.agent_no AND r.revision = " \
    "a.revision "
#define AEGIS_AGENT_ANY \
    "SELECT " AEGIS_AGENT_COLUMNS " FROM agents a JOIN agent_revisions r USING (agent_no) "

struct Stored {
    std::int64_t agent_no = 0;
    AgentRecord record;
};

Stored readAgent(const Query& q) {
    Stored out;
    out.agent_no = q.integer(0);
    auto& r = out.record;
    r.id = AgentId::parse(q.bytes(1)).value_or(AgentId());
    r.name = q.text(2);
    r.status = static_cast<AgentStatus>(std::clamp<std::int64_t>(q.integer(3), 0, 2));
    r.revision = static_cast<int>(q.integer(4));
    r.version = q.text(5);
    r.description = q.text(6);
    r.labels = decodeMap(q.bytes(7));
    r.annotations = decodeMap(q.bytes(8));
    r.created_at.ms = q.integer(9);
    r.updated_at.ms = q.integer(10);
    r.deployed_at.ms = q.integer(11);
    r.manifest_yaml = q.text(12);
    r.manifest_json = q.text(13);
    return out;
}

Result<Stored> one(Query q, const std::string& what) {
    AEGIS_TRY(bool row, q.step());
    if (!row) return {ErrorCode::kNotFound, fmt::format("no agent {}", what)};
    return readAgent(q);
}

Result<std::vector<AgentRecord>> many(Query q) {
    std::vector<AgentRecord> out;
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return out;
        out.push_back(readAgent(q).record);
    }
}

Result<Stored> findById(Database& db, const AgentId& id) {
    return one(db.query(AEGIS_AGENT_NEWEST "WHERE a.id = ?").bind(id.str()), id.str());
}
Result<Stored> findLive(Database& db, const std::string& name) {
    return one(db.query(AEGIS_AGENT_NEWEST "WHERE a.name = ? AND a.status != 2").bind(name),
               json::quote(name));
}

Status insertRevision(Database& db, std::int64_t agent_no, int revision,
                      const ports::NewRevision& r, UtcTime now) {
    return db
        .query(
            "INSERT INTO agent_revisions (agent_no, revision, version, description, labels, "
            "annotations, manifest_yaml, manifest_json, deployed_ms) VALUES "
            "(?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(agent_no, revision, r.version, r.description, encodeMap(r.labels),
              encodeMap(r.annotations), r.manifest_yaml, r.manifest_json, now.ms)
        .run();
}

bool hasLabels(const AgentRecord& record, const std::map<std::string, std::string>& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& label) {
        auto found = record.labels.find(label.first);
        return found != record.labels.end() && found->second == label.second;
    });
}

}  // namespace

SqliteRegistry::SqliteRegistry(Writer& writer, Readers& readers, Sequence& sequence, Clock& clock,
                               Random& random)
    : writer_(writer), readers_(readers), sequence_(sequence), clock_(clock), random_(random) {}

Status SqliteRegistry::appendEvent(Database& db, const AgentRecord& record, const char* type) {
    EventRow row;
    row.type = type;
    row.version = 1;
    row.time = clock_.utc();
    row.bytes =
        fmt::format(R"({{"name":{},"revision":{}}})", json::quote(record.name), record.revision);
    return db
        .query("INSERT INTO events (node_no, agent_id, " AEGIS_EVENT_COLUMNS
               ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(sequence_.nextEvent(), record.id.str(), row.seq, row.type, row.version, row.time.ms,
              row.iteration, row.candidate, row.sandbox, row.bytes,
              std::int64_t{crc32c(row.summed())}, Blob{""})
        .run();
}

Result<ports::DeployResult> SqliteRegistry::deployOne(Database& db, const ports::NewRevision& r) {
    using What = ports::DeployResult::What;
    auto live = findLive(db, r.name);
    if (!live && live.error().code != ErrorCode::kNotFound) return live.error();
    UtcTime now = clock_.utc();
    if (!live) {
        auto id = AgentId::generate(random_);
        AEGIS_CHECK(
            db.query("INSERT INTO agents (id, name, status, revision, created_ms, updated_ms) "
                     "VALUES (?, ?, 0, 1, ?, ?)")
                .bind(id.str(), r.name, now.ms, now.ms)
                .run());
        AEGIS_CHECK(insertRevision(db, ::sqlite3_last_insert_rowid(db.handle()), 1, r, now));
        AEGIS_TRY(Stored stored, findById(db, id));
        AEGIS_CHECK(appendEvent(db, stored.record, "AgentDeployed"));
        return ports::DeployResult{std::move(stored.record), What::kCreated};
    }
    if (live->record.manifest_yaml == r.manifest_yaml)
        return ports::DeployResult{std::move(live->record), What::kUnchanged};
    int revision = live->record.revision + 1;
    AEGIS_CHECK(insertRevision(db, live->agent_no, revision, r, now));
    AEGIS_CHECK(db.query("UPDATE agents SET revision = ?, updated_ms = ? WHERE agent_no = ?")
                    .bind(revision, now.ms, live->agent_no)
                    .run());
    AEGIS_TRY(Stored stored, findLive(db, r.name));
    AEGIS_CHECK(appendEvent(db, stored.record, "AgentUpdated"));
    return ports::DeployResult{std::move(stored.record), What::kUpdated};
}

Result<std::vector<ports::DeployResult>> SqliteRegistry::deploy(
    const std::vector<ports::NewRevision>& revisions) {
    std::vector<ports::DeployResult> out;
    AEGIS_CHECK(writer_.run(
        [&](Database& db) -> Status {
            out.clear();
            for (const auto& revision : revisions) {
                AEGIS_TRY(auto result, deployOne(db, revision));
                out.push_back(std::move(result));
            }
            return {};
        },
        true));
    return out;
}

Result<AgentRecord> SqliteRegistry::setStatus(const AgentId& id, AgentStatus status) {
    AgentRecord out;
    Status done = writer_.run(
        [&](Database& db) -> Status {
            AEGIS_TRY(Stored stored, findById(db, id));
            out = stored.record;
            if (out.status == AgentStatus::kArchived) {
                return {ErrorCode::kConflict,
                        fmt::format("agent {} ({}) is archived", json::quote(out.name), id.str())};
            }
            if (out.status == status) return {};
            UtcTime now = clock_.utc();
            AEGIS_CHECK(db.query("UPDATE agents SET status = ?, updated_ms = ? WHERE agent_no = ?")
                            .bind(static_cast<int>(status), now.ms, stored.agent_no)
                            .run());
            out.status = status;
            out.updated_at = now;
            const char* type = status == AgentStatus::kArchived ? "AgentDeleted"
                               : status == AgentStatus::kPaused ? "AgentPaused"
                                                                : "AgentResumed";
            return appendEvent(db, out, type);
        },
        false);
    if (!done) return done.error();
    return out;
}

Result<AgentRecord> SqliteRegistry::byId(const AgentId& id) {
    auto db = readers_.take();
    AEGIS_TRY(Stored stored, findById(*db, id));
    return std::move(stored.record);
}

Result<AgentRecord> SqliteRegistry::byName(const std::string& name) {
    auto db = readers_.take();
    AEGIS_TRY(Stored stored, findLive(*db, name));
    return std::move(stored.record);
}

Result<AgentRecord> SqliteRegistry::revision(const AgentId& id, int revision) {
    auto db = readers_.take();
    AEGIS_TRY(
        Stored stored,
        one(db->query(AEGIS_AGENT_ANY "WHERE a.id = ? AND r.revision = ?").bind(id.str(), revision),
            fmt::format("{} of revision {}", id.str(), revision)));
    return std::move(stored.record);
}

Result<std::vector<AgentRecord>> SqliteRegistry::revisions(const AgentId& id) {
    auto db = readers_.take();
    AEGIS_TRY(
        auto records,
        many(db->query(AEGIS_AGENT_ANY "WHERE a.id = ? ORDER BY r.revision DESC").bind(id.str())));
    if (records.empty()) return {ErrorCode::kNotFound, fmt::format("no agent {}", id.str())};
    return records;
}

Result<std::vector<AgentRecord>> SqliteRegistry::byPrefix(const std::string& prefix, int limit) {
    if (prefix.find_first_not_of("0123456789abcdef-") != std::string::npos)
        return std::vector<AgentRecord>();
    auto db = readers_.take();
    return many(db->query(AEGIS_AGENT_NEWEST "WHERE a.id >= ? AND a.id < ? ORDER BY a.id LIMIT ?")
                    .bind(prefix, prefix + "g", limit));
}

Result<ports::AgentPage> SqliteRegistry::list(const ports::AgentFilter& filter) {
    auto db = readers_.take();
    std::string after_name;
    std::int64_t after_no = 0;
    if (!filter.cursor.empty()) {
        AEGIS_TRY(after_no, parseCursor('a', filter.cursor));
        Query q = db->query("SELECT name FROM agents WHERE agent_no = ?").bind(after_no);
        AEGIS_TRY(bool known, q.step());
        if (known) after_name = q.text(0);
    }
    int low = filter.status ? static_cast<int>(*filter.status) : 0;
    int high = filter.status
                   ? low
                   : static_cast<int>(filter.all ? AgentStatus::kArchived : AgentStatus::kPaused);
    Query q = db->query(AEGIS_AGENT_NEWEST
                        "WHERE (a.name, a.agent_no) > (?, ?) AND a.status BETWEEN "
                        "? AND ? ORDER BY a.name, a.agent_no")
                  .bind(after_name, after_no, low, high);
    ports::AgentPage page;
    std::int64_t last_no = 0;
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return page;
        Stored stored = readAgent(q);
        if (!hasLabels(stored.record, filter.labels)) continue;
        if (filter.limit > 0 && page.records.size() == static_cast<std::size_t>(filter.limit)) {
            page.next_cursor = makeCursor('a', last_no);
            return page;
        }
        stored.record.manifest_yaml.clear();
        last_no = stored.agent_no;
        page.records.push_back(std::move(stored.record));
    }
}

}  // namespace aegis::store
