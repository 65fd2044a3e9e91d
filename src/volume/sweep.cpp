#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "base/log.h"
#include "os/mount.h"
#include "volume/attachment.h"
#include "volume/manager.h"

namespace aegis::volume {
namespace {

/// An execution may attach while a sweep still works with an older list of the live ones.
constexpr std::int64_t kGraceNs = 60'000'000'000;
constexpr std::int64_t kUnmountMs = 5'000;

Result<std::vector<std::string>> namesIn(const std::string& path) {
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
    if (!dir) return errnoError(errno, path);
    std::vector<std::string> names;
    while (dirent* entry = ::readdir(dir.get()))
        if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    return names;
}

/// The volume that a file or directory of ours belongs to: "<id>", "<id>.img" or "<id>.img.tmp".
std::optional<VolumeId> ownerOf(std::string_view name) {
    return VolumeId::parse(name.substr(0, name.find('.')));
}

void keepFirst(Status& first, Status status) {
    if (!status && first) first = std::move(status);
}

}  // namespace

Status VolumeManager::sweep(const std::set<ExecutionId>& live, UtcTime now) {
    AEGIS_CHECK(layout_made_);
    ready_.expire();
    AEGIS_TRY(auto records, store_.list());
    std::set<VolumeId> known;
    Status first;
    for (const auto& record : records) {
        known.insert(record.id);
        bool idle = !record.mounted && (record.storage_class != "ephemeral" ||
                                        (record.expires_at.ms != 0 && record.expires_at > now));
        if (!idle)
            keepFirst(first, sweepOne(record.id, live, now));
        else if (!swept_)
            keepFirst(first, sweepIdle(record.id));
    }
    swept_ = true;
    keepFirst(first, sweepOrphans(known));
    return first;
}

bool VolumeManager::inUse(const ports::VolumeRecord& record, const std::set<ExecutionId>& live) {
    std::lock_guard lock(users_mutex_);
    auto at = users_.find(record.id);
    if (at == users_.end()) return live.contains(record.execution_id);
    auto oldest = clock_.boot().ns - kGraceNs;
    std::erase_if(at->second, [&](const auto& user) {
        const bool stale = !live.contains(user.first) && user.second.since.ns < oldest;
        if (stale) attached_.erase(user.first);
        if (stale) unwritten_->forget(user.first);
        return stale;
    });
    if (!at->second.empty()) return true;
    users_.erase(at);
    return false;
}

Status VolumeManager::sweepOne(const VolumeId& id, const std::set<ExecutionId>& live, UtcTime now) {
    auto guard = locks_.tryLock(id);
    if (!guard) return {};
    auto record = store_.get(id);
    if (!record)
        return record.error().code == ErrorCode::kNotFound ? Status{} : Status{record.error()};
    if (inUse(*record, live)) return {};
    auto deadline = Deadline::in(clock_.boot(), kUnmountMs);
    bool expired = record->expires_at.ms != 0 && record->expires_at <= now;
    if (record->storage_class == "ephemeral" && expired) return remove(id, deadline);
    return release(std::move(*record), now, deadline);
}

/// A daemon that was killed while it opened a view may have left the mount that it came from.
Status VolumeManager::sweepIdle(const VolumeId& id) {
    auto target = layout_.mount(id);
    auto mounted = os::isMountPoint(target);
    if (!mounted || !*mounted) return {};
    auto guard = locks_.tryLock(id);
    if (!guard || hasUsers(id)) return {};
    AEGIS_CHECK(unmountImage(target, Deadline::in(clock_.boot(), kUnmountMs)));
    ::rmdir(target.c_str());
    return {};
}

Status VolumeManager::sweepOrphans(const std::set<VolumeId>& known) {
    std::set<VolumeId> orphans;
    for (const auto& path : {layout_.mounts(), layout_.images()}) {
        AEGIS_TRY(auto names, namesIn(path));
        for (const auto& name : names) {
            auto owner = ownerOf(name);
            if (owner && (!known.contains(*owner) || name.ends_with(".tmp")))
                orphans.insert(*owner);
        }
    }
    Status first;
    for (const auto& id : orphans) {
        auto guard = locks_.tryLock(id);
        if (!guard) continue;
        auto temporary = layout_.image(id) + ".tmp";
        ::unlink(temporary.c_str());
        auto record = store_.get(id);
        if (record || record.error().code != ErrorCode::kNotFound || hasUsers(id)) continue;
        log(LogLevel::kInfo, "removing what is left of an unknown volume", {{"volume", id.str()}});
        keepFirst(first, remove(id, Deadline::in(clock_.boot(), kUnmountMs)));
    }
    return first;
}

void VolumeManager::unmountAll(Deadline deadline) {
    ready_.stop();
    std::set<VolumeId> mounted;
    if (auto records = store_.list()) {
        for (const auto& record : *records)
            if (record.mounted) mounted.insert(record.id);
    }
    {
        // The rows of some may be under way.
        std::lock_guard lock(users_mutex_);
        for (const auto& [id, users] : users_)
            mounted.insert(id);
    }
    for (const auto& id : mounted) {
        auto guard = locks_.lock(id);
        if (auto done = unmountImage(layout_.mount(id), deadline); !done)
            log(LogLevel::kWarn, "a volume stays mounted",
                {{"volume", id.str()}, {"error", done.error().message}});
    }
}

}  // namespace aegis::volume
