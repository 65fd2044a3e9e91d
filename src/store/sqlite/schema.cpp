#include "store/sqlite/schema.h"

#include <fmt/format.h>

#include <array>

namespace aegis::store {
namespace {

// Step n takes user_version from n to n + 1. A step that was shipped is never changed.
constexpr std::array<const char*, 1> kSteps = {R"sql(
-- status holds execution::Status. latest_ms is the greatest created_ms so far, so it never falls as
-- exec_no grows, whatever the clock did: "created since" is found by bisection.
CREATE TABLE executions (
    exec_no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL,
    agent_name TEXT NOT NULL,
    agent_revision INTEGER NOT NULL,
    status INTEGER NOT NULL,
    labels TEXT NOT NULL,
    max_iterations INTEGER NOT NULL,
    total_iterations INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    latest_ms INTEGER NOT NULL,
    failure_code TEXT NOT NULL,
    failure_message TEXT NOT NULL,
    calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    last_seq INTEGER NOT NULL,
    last_chain BLOB NOT NULL
);
CREATE INDEX executions_status ON executions (status);
CREATE INDEX executions_agent ON executions (agent_id, status);
CREATE TABLE execution_agents (
    agent_name TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    PRIMARY KEY (agent_name, agent_id)
) WITHOUT ROWID;
CREATE TABLE execution_labels (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    exec_no INTEGER NOT NULL,
    PRIMARY KEY (key, value, exec_no)
) WITHOUT ROWID;
CREATE INDEX execution_labels_exec ON execution_labels (exec_no);

-- node_no is the node's order. exec_no is NULL and agent_id is set for an agent's event.
CREATE TABLE events (
    node_no INTEGER PRIMARY KEY,
    exec_no INTEGER,
    agent_id TEXT,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    version INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    iteration INTEGER NOT NULL,
    candidate INTEGER NOT NULL,
    sandbox INTEGER NOT NULL,
    bytes TEXT NOT NULL,
    crc32c INTEGER NOT NULL,
    chain BLOB NOT NULL
);
CREATE UNIQUE INDEX events_seq ON events (exec_no, seq) WHERE exec_no IS NOT NULL;

-- bytes is NULL when the body is a file.
CREATE TABLE bodies (
    exec_no INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    bytes BLOB
);
CREATE UNIQUE INDEX bodies_sha256 ON bodies (exec_no, sha256);

CREATE TABLE claims (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    exec_no INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX claims_exec ON claims (exec_no);
CREATE TABLE idempotency (
    agent_id TEXT NOT NULL,
    key TEXT NOT NULL,
    exec_no INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (agent_id, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_exec ON idempotency (exec_no);

-- status holds ports::AgentStatus; 2 is archived.
CREATE TABLE agents (
    agent_no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX agents_live ON agents (name) WHERE status != 2;
CREATE INDEX agents_name ON agents (name, agent_no);
CREATE TABLE agent_revisions (
    agent_no INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    manifest_yaml TEXT NOT NULL,
    manifest_json TEXT NOT NULL,
    deployed_ms INTEGER NOT NULL,
    PRIMARY KEY (agent_no, revision)
);

CREATE TABLE volumes (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    storage_class TEXT NOT NULL,
    mount_point TEXT NOT NULL,
    size_limit_bytes INTEGER NOT NULL,
    used_bytes INTEGER NOT NULL,
    execution_id TEXT NOT NULL,
    mounted INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX volumes_agent ON volumes (agent_id, name);

-- Numbers that must not be used again after a removal: next_exec_no, next_node_no.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
)sql"};

}  // namespace

int schemaVersion() { return static_cast<int>(kSteps.size()); }

Status configureWriter(Database& db) {
    AEGIS_CHECK(db.exec("PRAGMA journal_mode = WAL"));
    AEGIS_CHECK(db.exec("PRAGMA synchronous = FULL"));
    AEGIS_CHECK(db.exec("PRAGMA wal_autocheckpoint = 0"));
    AEGIS_CHECK(db.exec("PRAGMA temp_store = MEMORY"));
    AEGIS_CHECK(db.exec("PRAGMA cache_size = -16384"));
    return db.exec("PRAGMA trusted_schema = OFF");
}

Status migrate(Database& db) {
    AEGIS_TRY(std::int64_t version, db.integer("PRAGMA user_version"));
    if (version > schemaVersion()) {
        return {
            ErrorCode::kUnsupported,
            fmt::format("the database was written by a newer aegis (schema {}, this one knows {})",
                        version, schemaVersion()),
            "use that version, or another storage.data_dir"};
    }
    for (; version < schemaVersion(); ++version) {
        auto sql = fmt::format("BEGIN IMMEDIATE;{};PRAGMA user_version = {};COMMIT;",
                               kSteps[static_cast<std::size_t>(version)], version + 1);
        if (auto done = db.exec(sql.c_str()); !done) {
            if (db.inTransaction()) (void)db.exec("ROLLBACK");
            return std::move(done.error()).within("cannot prepare the database");
        }
    }
    return {};
}

}  // namespace aegis::store
