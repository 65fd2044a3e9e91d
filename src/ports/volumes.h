#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/manifest.h"
#include "ports/sandbox.h"

namespace aegis::ports {

/// A volume as the API shows it. Stored with the journal.
struct VolumeRecord {
    VolumeId id;
    std::string name;
    AgentId agent_id;
    std::string storage_class;  ///< "ephemeral" or "persistent"
    std::string mount_point;
    std::uint64_t size_limit_bytes = 0;
    std::uint64_t used_bytes = 0;
    ExecutionId execution_id;  ///< the newest one that used it
    bool mounted = false;
    std::int64_t ttl_ms = 0;
    UtcTime expires_at;  ///< ms 0: never, or not yet known
    UtcTime created_at;
};

/// The rows of volumes, kept by the store. Calls block for one commit, but for those that say
/// "soon": these are written in the order of all calls, the journal's included, and not waited for;
/// whoever reads meanwhile does not see it. Safe on any thread.
class VolumeStore {
  public:
    virtual ~VolumeStore() = default;
    virtual Status put(const VolumeRecord& record) = 0;  ///< insert or replace
    /// `done` is called once, on a thread of the store's, which it must not hold up.
    virtual void putSoon(const VolumeRecord& record, std::function<void(const Status&)> done) = 0;
    virtual Result<VolumeRecord> get(const VolumeId& id) = 0;
    virtual Result<std::vector<VolumeRecord>> list() = 0;
    virtual Result<std::optional<VolumeRecord>> persistent(const AgentId& agent,
                                                           const std::string& name) = 0;
    virtual Status erase(const VolumeId& id) = 0;
    virtual void eraseSoon(const VolumeId& id) = 0;
};

struct AttachRequest {
    ExecutionId execution;
    AgentId agent;
    std::vector<agent::Volume> volumes;
};

/// A volume's content, for reading from outside: the directory stays there while the object lives,
/// whether an execution uses the volume or not. Not to outlive the port; any thread.
class VolumeView {
  public:
    virtual ~VolumeView() = default;
    /// Its root directory, for openat2(2) beneath it. What is in there was written by guests.
    virtual int root() const = 0;
};

/// Makes, attaches, detaches and expires volumes with hard size limits. Safe on any thread.
class Volumes {
  public:
    virtual ~Volumes() = default;
    /// Creates what does not exist and makes all of them ready. Repeatable: after a crash the same
    /// call gives the same volumes. All or none.
    virtual void attach(AttachRequest request, Deadline deadline,
                        std::function<void(Result<std::vector<AttachedVolume>>)> done) = 0;
    /// After the last process of the execution is gone: flushes persistent ones, detaches all,
    /// starts the TTL at `ended_at`; TTL 0 deletes at once. Repeatable.
    virtual void detach(const ExecutionId& execution, UtcTime ended_at, Deadline deadline,
                        std::function<void(Status)> done) = 0;
    /// Volumes of `execution` that are full now (free space under one block).
    virtual std::vector<VolumeRecord> full(const ExecutionId& execution) = 0;
    using OnFull = std::function<void(const ExecutionId&, const VolumeRecord&)>;
    /// Who is told of attached volumes that became full, on a thread of the port's. With an empty
    /// one no call is running any more when this returns.
    virtual void onFull(OnFull tell) = 0;
    /// A program of `execution` begins: what it writes is looked at closely.
    virtual void expectWrites(const ExecutionId& execution) = 0;

    virtual Result<std::vector<VolumeRecord>> list() = 0;
    virtual Result<VolumeRecord> get(const VolumeId& id) = 0;
    virtual Status erase(const VolumeId& id) = 0;  ///< kConflict while mounted
    /// Blocks where the volume has to be mounted first.
    virtual Result<std::unique_ptr<VolumeView>> view(const VolumeId& id) = 0;

    /// Detaches what no execution in `live` uses and deletes what has expired. Blocks.
    virtual Status sweep(const std::set<ExecutionId>& live, UtcTime now) = 0;
    /// Why hard limits cannot be had on this machine, or success. Blocks briefly.
    virtual Status available() = 0;
};

}  // namespace aegis::ports
