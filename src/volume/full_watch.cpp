#include "volume/full_watch.h"

#include <algorithm>

namespace aegis::volume {
namespace {

constexpr std::uint64_t kBytesPerMs = (1ULL << 30) / 1000;
constexpr std::int64_t kShortestMs = 5;
constexpr std::int64_t kLongestMs = 1000;

}  // namespace

/// ext4 reserves a whole folio for a write, at most 1 MiB of it here, and refuses with ENOSPC while
/// a little less than that is still free.
bool isFull(const os::Space& space) {
    const auto folio = std::min<std::uint64_t>(1 << 20, space.total_bytes / 64);
    const auto below = std::max({space.block_bytes, space.total_bytes / 1000, folio});
    return space.available_bytes < below || space.free_inodes == 0;
}

std::int64_t nextLookMs(const os::Space& space, bool written, std::int64_t before_ms) {
    const auto filled = static_cast<std::int64_t>(space.available_bytes / kBytesPerMs);
    return std::clamp(written ? filled : before_ms * 2, kShortestMs, kLongestMs);
}

void FullWatch::tell(Tell tell) {
    std::lock_guard lock(tell_mutex_);
    tell_ = std::move(tell);
}

void FullWatch::add(const ExecutionId& execution, const ports::VolumeRecord& record,
                    std::string mount) {
    const Key key{execution, record.id};
    std::lock_guard lock(mutex_);
    auto& watched = watched_[key];
    watched.record = record;
    watched.mount = std::move(mount);
    schedule(key, watched, kShortestMs);
}

void FullWatch::remove(const ExecutionId& execution, const VolumeId& id) {
    std::lock_guard lock(mutex_);
    const auto at = watched_.find({execution, id});
    if (at == watched_.end()) return;
    timers_.cancel(at->second.timer);
    watched_.erase(at);
}

void FullWatch::expect(const ExecutionId& execution) {
    std::lock_guard lock(mutex_);
    for (auto& [key, watched] : watched_)
        if (key.first == execution && watched.interval_ms > kShortestMs)
            schedule(key, watched, kShortestMs);
}

/// Under mutex_.
void FullWatch::schedule(const Key& key, Watched& watched, std::int64_t ms) {
    timers_.cancel(watched.timer);
    watched.interval_ms = ms;
    watched.timer = timers_.in(ms, [this, key] { look(key); });
}

void FullWatch::look(const Key& key) {
    std::string mount;
    os::Timers::TimerId timer = 0;
    {
        std::lock_guard lock(mutex_);
        const auto at = watched_.find(key);
        if (at == watched_.end()) return;
        mount = at->second.mount;
        timer = at->second.timer;
    }
    const auto space = os::spaceOf(mount);
    ports::VolumeRecord record;
    {
        std::lock_guard lock(mutex_);
        const auto at = watched_.find(key);
        // After remove() the path may have led to another file system; else a newer look comes.
        if (at == watched_.end() || at->second.timer != timer) return;
        auto& watched = at->second;
        if (!space) return schedule(key, watched, kLongestMs);
        if (!isFull(*space)) {
            const bool written = std::exchange(watched.used, space->used()) != space->used();
            return schedule(key, watched, nextLookMs(*space, written, watched.interval_ms));
        }
        record = std::move(watched.record);
        watched_.erase(at);
    }
    record.used_bytes = space->used();
    std::lock_guard lock(tell_mutex_);
    if (tell_) tell_(key.first, record);
}

}  // namespace aegis::volume
