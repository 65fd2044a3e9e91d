#pragma once

#include "base/random.h"
#include "base/time.h"
#include "ports/registry.h"
#include "store/sqlite/readers.h"
#include "store/sqlite/sequence.h"
#include "store/sqlite/writer.h"

namespace aegis::store {

/// ports::Registry on SQLite. Changes are jobs of the writer, in one order with the journal's
/// batches.
class SqliteRegistry : public ports::Registry {
  public:
    SqliteRegistry(Writer& writer, Readers& readers, Sequence& sequence, Clock& clock,
                   Random& random);

    Result<std::vector<ports::DeployResult>> deploy(
        const std::vector<ports::NewRevision>& revisions) override;
    Result<ports::AgentPage> list(const ports::AgentFilter& filter) override;
    Result<ports::AgentRecord> byId(const AgentId& id) override;
    Result<ports::AgentRecord> byName(const std::string& name) override;
    Result<ports::AgentRecord> revision(const AgentId& id, int revision) override;
    /// Newest first.
    Result<std::vector<ports::AgentRecord>> revisions(const AgentId& id) override;
    /// By id.
    Result<std::vector<ports::AgentRecord>> byPrefix(const std::string& prefix, int limit) override;
    Result<ports::AgentRecord> setStatus(const AgentId& id, ports::AgentStatus status) override;

  private:
    Result<ports::DeployResult> deployOne(Database& db, const ports::NewRevision& revision);
    Status appendEvent(Database& db, const ports::AgentRecord& record, const char* type);

    Writer& writer_;
    Readers& readers_;
    Sequence& sequence_;
    Clock& clock_;
    Random& random_;
};

}  // namespace aegis::store
