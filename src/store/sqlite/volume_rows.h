#pragma once

#include "ports/volumes.h"
#include "store/sqlite/readers.h"
#include "store/sqlite/writer.h"

namespace aegis::store {

/// ports::VolumeStore on SQLite.
class SqliteVolumes : public ports::VolumeStore {
  public:
    SqliteVolumes(Writer& writer, Readers& readers) : writer_(writer), readers_(readers) {}

    Status put(const ports::VolumeRecord& record) override;
    void putSoon(const ports::VolumeRecord& record,
                 std::function<void(const Status&)> done) override;
    Result<ports::VolumeRecord> get(const VolumeId& id) override;
    /// Oldest first.
    Result<std::vector<ports::VolumeRecord>> list() override;
    Result<std::optional<ports::VolumeRecord>> persistent(const AgentId& agent,
                                                          const std::string& name) override;
    /// Repeatable: what is not there is erased.
    Status erase(const VolumeId& id) override;
    void eraseSoon(const VolumeId& id) override;

  private:
    Writer& writer_;
    Readers& readers_;
};

}  // namespace aegis::store
