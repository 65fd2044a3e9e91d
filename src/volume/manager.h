#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "base/random.h"
#include "os/worker_pool.h"
#include "ports/volumes.h"
#include "volume/full_watch.h"
#include "volume/image.h"
#include "volume/keyed_lock.h"
#include "volume/ready.h"

namespace aegis::volume {

struct Options {
    std::string dir;                               ///< absolute; made if missing
    std::optional<std::uint64_t> max_total_bytes;  ///< cap on the sum of all volumes' limits
    std::size_t workers = 4;
};

/// ports::Volumes on ext4 images and loop devices. Needs root; the mounts are made in the caller's
/// mount namespace, which must be the container engine's. `store`, `clock` and `random` must
/// outlive it. Mounts outlive it on purpose: a daemon that was killed finds them again. Safe on any
/// thread.
class VolumeManager : public ports::Volumes {
  public:
    VolumeManager(Options options, ports::VolumeStore& store, Clock& clock, Random& random);

    void attach(ports::AttachRequest request, Deadline deadline,
                std::function<void(Result<std::vector<ports::AttachedVolume>>)> done) override;
    void detach(const ExecutionId& execution, UtcTime ended_at, Deadline deadline,
                std::function<void(Status)> done) override;
    std::vector<ports::VolumeRecord> full(const ExecutionId& execution) override;
    void onFull(OnFull tell) override { watch_.tell(std::move(tell)); }
    void expectWrites(const ExecutionId& execution) override { watch_.expect(execution); }
    Result<std::vector<ports::VolumeRecord>> list() override;
    Result<ports::VolumeRecord> get(const VolumeId& id) override;
    Status erase(const VolumeId& id) override;
    Result<std::unique_ptr<ports::VolumeView>> view(const VolumeId& id) override;
    Status sweep(const std::set<ExecutionId>& live, UtcTime now) override;
    Status available() override;

    /// For a clean stop, when nothing runs any more: unmounts all volumes and changes no row;
    /// attaching mounts them again. Blocks until `deadline` at most for each.
    void unmountAll(Deadline deadline);

  private:
    using Guard = KeyedLock<VolumeId>::Guard;
    struct Made {
        ports::VolumeRecord record;
        bool created = false;
        os::Fd mount;  ///< detached; empty: still to be opened
    };

    /// Executions whose rows are to be written soon, and what became of those that could not be.
    /// Shared with the store, which may say so when the manager is gone.
    class Unwritten {
      public:
        void expect(const ExecutionId& execution);
        void refuse(const ExecutionId& execution, Error error);
        std::optional<Error> take(const ExecutionId& execution);
        void forget(const ExecutionId& execution);

      private:
        std::mutex mutex_;
        std::map<ExecutionId, std::optional<Error>> of_;
    };

    std::optional<Result<std::vector<ports::AttachedVolume>>> attachedBefore(
        const ExecutionId& execution);
    Result<std::vector<ports::AttachedVolume>> attachAll(const ports::AttachRequest& request,
                                                         Deadline deadline);
    Result<Made> attachOne(const ports::AttachRequest& request, const agent::Volume& volume,
                           Deadline deadline);
    Status mountFor(const ExecutionId& execution, Made& made);
    Status putRow(const Made& made);
    std::optional<ports::VolumeRecord> inUseBy(const VolumeId& id, const ExecutionId& execution);
    void undo(const ExecutionId& execution, const std::vector<Made>& done);
    void putBack(const Made& made);
    void addUser(const ExecutionId& execution, const ports::VolumeRecord& record);
    bool dropUser(const VolumeId& id, const ExecutionId& execution);
    Result<Made> findOrCreate(const ports::AttachRequest& request, const agent::Volume& volume,
                              Deadline deadline);
    Result<std::optional<ports::VolumeRecord>> find(const ports::AttachRequest& request,
                                                    const agent::Volume& volume);
    Result<Made> create(const ports::AttachRequest& request, const agent::Volume& volume,
                        Deadline deadline);
    Status checkRoom(std::uint64_t wanted_bytes);

    Status detachAll(const ExecutionId& execution, UtcTime ended_at, Deadline deadline);
    Status detachOne(const VolumeId& id, const ExecutionId& execution, UtcTime ended_at,
                     Deadline deadline);
    Status release(ports::VolumeRecord record, UtcTime ended_at, Deadline deadline);
    Status remove(const VolumeId& id, Deadline deadline);
    Status removeSoon(const VolumeId& id);

    Status sweepIdle(const VolumeId& id);
    Status sweepOne(const VolumeId& id, const std::set<ExecutionId>& live, UtcTime now);
    Status sweepOrphans(const std::set<VolumeId>& known);
    bool inUse(const ports::VolumeRecord& record, const std::set<ExecutionId>& live);
    bool hasUsers(const VolumeId& id);
    void refresh(ports::VolumeRecord& record) const;

    Options options_;
    Layout layout_;
    ports::VolumeStore& store_;
    Clock& clock_;
    Random& random_;
    Status layout_made_;

    KeyedLock<VolumeId> locks_;  ///< held while a volume is made, mounted, unmounted or deleted
    std::mutex create_mutex_;    ///< one creation at a time: templates and the cap
    bool probed_ = false;        ///< under create_mutex_: hard limits have been had once
    BootTime room_checked_;      ///< under create_mutex_

    bool swept_ = false;  ///< what a killed daemon left was looked for; the sweep's thread only

    std::mutex users_mutex_;
    struct Use {
        BootTime since;
        ports::VolumeRecord record;
    };
    std::map<VolumeId, std::map<ExecutionId, Use>> users_;
    /// What attach() said, under users_mutex_; only while it is a user of all of them.
    std::map<ExecutionId, std::vector<ports::AttachedVolume>> attached_;
    const std::shared_ptr<Unwritten> unwritten_ = std::make_shared<Unwritten>();

    // Last: their threads use all of the above.
    FullWatch watch_;
    ReadyVolumes ready_;
    os::WorkerPool closers_;  ///< ends file systems that nobody sees any more
    os::WorkerPool pool_;
};

}  // namespace aegis::volume
