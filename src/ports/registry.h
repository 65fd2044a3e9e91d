#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace aegis::ports {

enum class AgentStatus : std::uint8_t { kDeployed, kPaused, kArchived };

/// An agent with its newest revision.
struct AgentRecord {
    AgentId id;
    std::string name;
    AgentStatus status = AgentStatus::kDeployed;
    int revision = 1;
    std::string version;
    std::string description;
    std::map<std::string, std::string> labels;
    std::map<std::string, std::string> annotations;
    UtcTime created_at, updated_at, deployed_at;
    std::string manifest_yaml;  ///< the source text as deployed; empty in lists
    std::string manifest_json;  ///< resolved
};

/// A manifest that passed validation, to be stored.
struct NewRevision {
    std::string name, version, description;
    std::map<std::string, std::string> labels, annotations;
    std::string manifest_yaml, manifest_json;
};

struct DeployResult {
    AgentRecord record;
    enum class What : std::uint8_t { kCreated, kUpdated, kUnchanged } what = What::kCreated;
};

struct AgentFilter {
    std::optional<AgentStatus> status;  ///< none: deployed and paused
    bool all = false;                   ///< archived ones too
    std::map<std::string, std::string> labels;
    int limit = 0;  ///< 0: no limit
    std::string cursor;
};
struct AgentPage {
    std::vector<AgentRecord> records;  ///< by name
    std::string next_cursor;
};

/// Deployed agents and their revisions, in the same store as the journal; each change also appends
/// an event (AgentDeployed, AgentUpdated, AgentPaused, AgentResumed, AgentDeleted) to the node's
/// stream. Calls block for one commit. Safe on any thread.
class Registry {
  public:
    virtual ~Registry() = default;
    /// Stores all of them in one transaction; byte-identical text changes nothing.
    virtual Result<std::vector<DeployResult>> deploy(const std::vector<NewRevision>& revisions) = 0;
    virtual Result<AgentPage> list(const AgentFilter& filter) = 0;
    virtual Result<AgentRecord> byId(const AgentId& id) = 0;
    /// The live agent of that name.
    virtual Result<AgentRecord> byName(const std::string& name) = 0;
    /// The record as it was at `revision`.
    virtual Result<AgentRecord> revision(const AgentId& id, int revision) = 0;
    virtual Result<std::vector<AgentRecord>> revisions(const AgentId& id) = 0;
    /// Ids (of live and archived agents) that begin with `prefix`.
    virtual Result<std::vector<AgentRecord>> byPrefix(const std::string& prefix, int limit) = 0;
    /// kDeployed <-> kPaused are idempotent; kArchived is final (kConflict afterwards).
    virtual Result<AgentRecord> setStatus(const AgentId& id, AgentStatus status) = 0;
};

}  // namespace aegis::ports
