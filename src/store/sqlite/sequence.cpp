#include "store/sqlite/sequence.h"

#include <algorithm>

namespace aegis::store {
namespace {

Result<std::int64_t> counter(Database& db, const char* name) {
    Query q = db.query("SELECT value FROM counters WHERE name = ?").bind(name);
    AEGIS_TRY(bool row, q.step());
    return row ? q.integer(0) : 1;
}

}  // namespace

Status Sequence::load(Database& db) {
    AEGIS_TRY(std::int64_t execution, counter(db, "next_exec_no"));
    AEGIS_TRY(std::int64_t event, counter(db, "next_node_no"));
    AEGIS_TRY(std::int64_t rows, db.integer("SELECT coalesce(max(exec_no), 0) FROM executions"));
    AEGIS_TRY(std::int64_t events, db.integer("SELECT coalesce(max(node_no), 0) FROM events"));
    next_execution_ = std::max(execution, rows + 1);
    next_event_ = std::max(event, events + 1);
    return {};
}

Status Sequence::store(Database& db) const {
    constexpr const char* kSql = "INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)";
    AEGIS_CHECK(db.query(kSql).bind("next_exec_no", next_execution_).run());
    return db.query(kSql).bind("next_node_no", next_event_).run();
}

}  // namespace aegis::store
