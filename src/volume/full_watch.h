#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/time.h"
#include "os/mount.h"
#include "os/timers.h"
#include "ports/volumes.h"

namespace aegis::volume {

/// Whether a write to a file system like this may have been refused.
bool isFull(const os::Space& space);

/// How long one that is not full need not be looked at. A disk that writes 1 GiB/s cannot fill it
/// meanwhile, where something was written since the last look, `before_ms` ago; else twice as long
/// as before. Pure.
std::int64_t nextLookMs(const os::Space& space, bool written, std::int64_t before_ms);

/// Looks at volumes in use until they are full: no file system tells that it has refused a write,
/// and whoever was refused may have cleaned up when it has ended. One thread, which sleeps while
/// nothing is written. Any thread.
class FullWatch {
  public:
    /// On the watch's thread, at most once for each add().
    using Tell = std::function<void(const ExecutionId&, const ports::VolumeRecord&)>;

    explicit FullWatch(Clock& clock) : timers_(clock) {}

    /// Who is told; empty: nobody, and no call is running when this returns.
    void tell(Tell tell);
    /// The volume is mounted at `mount` until remove().
    void add(const ExecutionId& execution, const ports::VolumeRecord& record, std::string mount);
    void remove(const ExecutionId& execution, const VolumeId& id);
    /// A program begins that may write: its volumes are looked at soon.
    void expect(const ExecutionId& execution);

  private:
    using Key = std::pair<ExecutionId, VolumeId>;
    struct Watched {
        ports::VolumeRecord record;
        std::string mount;
        std::uint64_t used = 0;
        std::int64_t interval_ms = 0;
        os::Timers::TimerId timer = 0;
    };
    void schedule(const Key& key, Watched& watched, std::int64_t ms);
    void look(const Key& key);

    std::mutex tell_mutex_;  ///< held while somebody is told
    Tell tell_;
    std::mutex mutex_;
    std::map<Key, Watched> watched_;
    os::Timers timers_;  ///< last: its thread uses the rest
};

}  // namespace aegis::volume
