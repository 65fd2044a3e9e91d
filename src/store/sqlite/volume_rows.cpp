#include "store/sqlite/volume_rows.h"

#include <fmt/format.h>

namespace aegis::store {
namespace {

#define AEGIS_VOLUME_COLUMNS                                                                       \
    "id, name, agent_id, storage_class, mount_point, size_limit_bytes, used_bytes, execution_id, " \
    "mounted, ttl_ms, expires_ms, created_ms"

ports::VolumeRecord readVolume(const Query& q) {
    ports::VolumeRecord r;
    r.id = VolumeId::parse(q.bytes(0)).value_or(VolumeId());
    r.name = q.text(1);
    r.agent_id = AgentId::parse(q.bytes(2)).value_or(AgentId());
    r.storage_class = q.text(3);
    r.mount_point = q.text(4);
    r.size_limit_bytes = static_cast<std::uint64_t>(q.integer(5));
    r.used_bytes = static_cast<std::uint64_t>(q.integer(6));
    r.execution_id = ExecutionId::parse(q.bytes(7)).value_or(ExecutionId());
    r.mounted = q.integer(8) != 0;
    r.ttl_ms = q.integer(9);
    r.expires_at.ms = q.integer(10);
    r.created_at.ms = q.integer(11);
    return r;
}

Status write(Database& db, const ports::VolumeRecord& r) {
    return db
        .query("INSERT OR REPLACE INTO volumes (" AEGIS_VOLUME_COLUMNS
               ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(r.id.str(), r.name, r.agent_id.str(), r.storage_class, r.mount_point,
              r.size_limit_bytes, r.used_bytes, r.execution_id.str(), r.mounted ? 1 : 0, r.ttl_ms,
              r.expires_at.ms, r.created_at.ms)
        .run();
}

Status removeRow(Database& db, const VolumeId& id) {
    return db.query("DELETE FROM volumes WHERE id = ?").bind(id.str()).run();
}

}  // namespace

Status SqliteVolumes::put(const ports::VolumeRecord& record) {
    return writer_.run([&](Database& db) { return write(db, record); }, false);
}

void SqliteVolumes::putSoon(const ports::VolumeRecord& record,
                            std::function<void(const Status&)> done) {
    writer_.submit({.work = [record](Database& db) { return write(db, record); },
                    .done = std::move(done),
                    .may_wait = true});
}

Result<ports::VolumeRecord> SqliteVolumes::get(const VolumeId& id) {
    auto db = readers_.take();
    Query q = db->query("SELECT " AEGIS_VOLUME_COLUMNS " FROM volumes WHERE id = ?").bind(id.str());
    AEGIS_TRY(bool row, q.step());
    if (!row) return {ErrorCode::kNotFound, fmt::format("no volume {}", id.str())};
    return readVolume(q);
}

Result<std::vector<ports::VolumeRecord>> SqliteVolumes::list() {
    auto db = readers_.take();
    Query q = db->query("SELECT " AEGIS_VOLUME_COLUMNS " FROM volumes ORDER BY created_ms, id");
    std::vector<ports::VolumeRecord> out;
    while (true) {
        AEGIS_TRY(bool row, q.step());
        if (!row) return out;
        out.push_back(readVolume(q));
    }
}

Result<std::optional<ports::VolumeRecord>> SqliteVolumes::persistent(const AgentId& agent,
                                                                     const std::string& name) {
    auto db = readers_.take();
    Query q = db->query("SELECT " AEGIS_VOLUME_COLUMNS
                        " FROM volumes WHERE agent_id = ? AND name = ? "
                        "AND storage_class = 'persistent' ORDER BY created_ms, id LIMIT 1")
                  .bind(agent.str(), name);
    AEGIS_TRY(bool row, q.step());
    if (!row) return std::optional<ports::VolumeRecord>();
    return std::optional(readVolume(q));
}

Status SqliteVolumes::erase(const VolumeId& id) {
    return writer_.run([&](Database& db) { return removeRow(db, id); }, false);
}

void SqliteVolumes::eraseSoon(const VolumeId& id) {
    writer_.submit(
        {.work = [id](Database& db) { return removeRow(db, id); }, .done = {}, .may_wait = true});
}

}  // namespace aegis::store
