#include "volume/manager.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "os/files.h"
#include "os/loop.h"
#include "os/mount.h"
#include "os/mount_tree.h"
#include "os/run_program.h"
#include "os/user_namespace.h"
#include "ports/volume_sources.h"
#include "volume/attachment.h"

namespace aegis::volume {
namespace {

using ports::AttachedVolume;
using ports::VolumeRecord;

constexpr std::size_t kMaxQueue = 4096;
constexpr std::int64_t kProbeMs = 10'000;
constexpr std::int64_t kRoomCheckNs = 1'000'000'000;

/// As the execution's manifest calls it.
VolumeRecord named(VolumeRecord record, const std::string& name) {
    record.name = name;
    return record;
}

bool isEphemeral(const VolumeRecord& record) { return record.storage_class == "ephemeral"; }

Error queueFull() { return {ErrorCode::kUnavailable, "too many volume operations are waiting"}; }

}  // namespace

VolumeManager::VolumeManager(Options options, ports::VolumeStore& store, Clock& clock,
                             Random& random)
    : options_(std::move(options)),
      layout_{options_.dir},
      store_(store),
      clock_(clock),
      random_(random),
      layout_made_(makeLayout(layout_)),
      watch_(clock),
      ready_(layout_),
      closers_(1, kMaxQueue),
      pool_(options_.workers, kMaxQueue) {}

// ---- attach ----

void VolumeManager::attach(ports::AttachRequest request, Deadline deadline,
                           std::function<void(Result<std::vector<AttachedVolume>>)> done) {
    if (auto known = attachedBefore(request.execution)) return done(std::move(*known));
    bool queued = pool_.submit([this, request = std::move(request), deadline, done] {
        done(attachAll(request, deadline));
    });
    if (!queued) done(queueFull());
}

void VolumeManager::Unwritten::expect(const ExecutionId& execution) {
    std::lock_guard lock(mutex_);
    of_.try_emplace(execution);
}

void VolumeManager::Unwritten::refuse(const ExecutionId& execution, Error error) {
    std::lock_guard lock(mutex_);
    if (auto at = of_.find(execution); at != of_.end()) at->second = std::move(error);
}

std::optional<Error> VolumeManager::Unwritten::take(const ExecutionId& execution) {
    std::lock_guard lock(mutex_);
    auto at = of_.find(execution);
    if (at == of_.end() || !at->second) return std::nullopt;
    Error error = std::move(*at->second).within("a volume could not be recorded");
    of_.erase(at);
    return error;
}

void VolumeManager::Unwritten::forget(const ExecutionId& execution) {
    std::lock_guard lock(mutex_);
    of_.erase(execution);
}

/// Asked again for each sandbox of the execution: nothing to do but to look that all is there.
std::optional<Result<std::vector<AttachedVolume>>> VolumeManager::attachedBefore(
    const ExecutionId& execution) {
    if (auto refused = unwritten_->take(execution)) return std::move(*refused);
    std::vector<AttachedVolume> attached;
    {
        std::lock_guard lock(users_mutex_);
        auto at = attached_.find(execution);
        if (at == attached_.end()) return std::nullopt;
        attached = at->second;
    }
    for (const auto& volume : attached) {
        auto mounted = os::isMountPoint(volume.source);
        if (!mounted || !*mounted) return std::nullopt;
    }
    return attached;
}

Result<std::vector<AttachedVolume>> VolumeManager::attachAll(const ports::AttachRequest& request,
                                                             Deadline deadline) {
    AEGIS_CHECK(layout_made_);
    std::vector<Made> made;
    std::vector<AttachedVolume> attached;
    for (const auto& volume : request.volumes) {
        auto one = attachOne(request, volume, deadline);
        // That of a source may be one that the agent has under a name of its own.
        if (one &&
            std::ranges::find(attached, one->record.id, &AttachedVolume::id) != attached.end())
            one = Error(ErrorCode::kInvalid, "it is mounted at another place already");
        if (!one) {
            undo(request.execution, made);
            return std::move(one.error()).within(fmt::format("volume {}", volume.name));
        }
        attached.push_back({.id = one->record.id,
                            .name = volume.name,
                            .mount_point = volume.mount_point,
                            .source = layout_.mount(one->record.id)});
        made.push_back(std::move(*one));
    }
    if (auto refused = unwritten_->take(request.execution)) {
        undo(request.execution, made);
        return std::move(*refused);
    }
    for (std::size_t i = 0; i < made.size(); ++i)
        watch_.add(request.execution, named(made[i].record, request.volumes[i].name),
                   layout_.mount(made[i].record.id));
    std::lock_guard lock(users_mutex_);
    attached_[request.execution] = attached;
    return attached;
}

Result<VolumeManager::Made> VolumeManager::attachOne(const ports::AttachRequest& request,
                                                     const agent::Volume& volume,
                                                     Deadline deadline) {
    if (deadline.passed(clock_.boot()))
        return {ErrorCode::kTimeout, "could not be attached in time"};
    AEGIS_TRY(Made made, findOrCreate(request, volume, deadline));
    auto guard = locks_.lock(made.record.id);
    // It may have been deleted, or have expired, in between.
    if (!made.created && !hasUsers(made.record.id)) AEGIS_CHECK(store_.get(made.record.id));
    auto mounted = mountFor(request.execution, made);
    if (mounted) {
        made.record.execution_id = request.execution;
        made.record.mount_point = volume.mount_point;
        made.record.mounted = true;
        made.record.expires_at = {};
        addUser(request.execution, named(made.record, volume.name));
        mounted = putRow(made);
    }
    if (mounted) return made;
    if (dropUser(made.record.id, request.execution)) putBack(made);
    return mounted.error();
}

/// That of a new ephemeral volume is not waited for: it is written before any event that tells of
/// the volume, and an execution that is found again without one has none yet.
Status VolumeManager::putRow(const Made& made) {
    if (!made.created || !isEphemeral(made.record)) return store_.put(made.record);
    const auto& execution = made.record.execution_id;
    unwritten_->expect(execution);
    store_.putSoon(made.record, [unwritten = unwritten_, execution](const Status& status) {
        if (!status) unwritten->refuse(execution, status.error());
    });
    return {};
}

Status VolumeManager::mountFor(const ExecutionId& execution, Made& made) {
    auto image = layout_.image(made.record.id);
    if (::access(image.c_str(), F_OK) != 0)
        return {ErrorCode::kNotFound, fmt::format("its image is missing ({})", image)};
    addUser(execution, made.record);
    auto target = layout_.mount(made.record.id);
    if (::mkdir(target.c_str(), 0700) != 0 && errno != EEXIST) return errnoError(errno, target);
    AEGIS_TRY(bool mounted, os::isMountPoint(target));
    if (mounted && !made.created) return {};
    // A daemon was killed before it could write the row of what it had mounted here.
    if (mounted) AEGIS_CHECK(takeOff(target));
    if (!made.mount) {
        AEGIS_TRY(made.mount, openImage(image, made.created));
    }
    AEGIS_CHECK(os::attachTreeAt(made.mount.get(), AT_FDCWD, target.c_str()));
    made.mount.reset();
    return {};
}

void VolumeManager::undo(const ExecutionId& execution, const std::vector<Made>& done) {
    for (const auto& made : done) {
        auto guard = locks_.lock(made.record.id);
        if (dropUser(made.record.id, execution)) putBack(made);
    }
}

/// Its lock is held and nobody uses it. What was there before keeps its content and its row.
void VolumeManager::putBack(const Made& made) {
    auto status = made.created ? remove(made.record.id, Deadline::never())
                               : unmountImage(layout_.mount(made.record.id), Deadline::never());
    if (!status)
        log(LogLevel::kWarn, "a volume could not be put back",
            {{"volume", made.record.id.str()}, {"error", status.error().message}});
}

/// From here on no sweep takes it away.
void VolumeManager::addUser(const ExecutionId& execution, const VolumeRecord& record) {
    std::lock_guard lock(users_mutex_);
    users_[record.id][execution] = {.since = clock_.boot(), .record = record};
}

/// True if nobody uses it any more.
bool VolumeManager::dropUser(const VolumeId& id, const ExecutionId& execution) {
    watch_.remove(execution, id);
    unwritten_->forget(execution);
    std::lock_guard lock(users_mutex_);
    attached_.erase(execution);
    auto at = users_.find(id);
    if (at == users_.end()) return true;
    at->second.erase(execution);
    if (!at->second.empty()) return false;
    users_.erase(at);
    return true;
}

Result<std::optional<VolumeRecord>> VolumeManager::find(const ports::AttachRequest& request,
                                                        const agent::Volume& volume) {
    if (!volume.source_volume_id.empty()) {
        const auto id = VolumeId::parse(volume.source_volume_id);
        if (!id) return {ErrorCode::kInvalid, volume.source_volume_id + ": is no volume id"};
        AEGIS_TRY(auto source, store_.get(*id));
        AEGIS_CHECK(ports::canBeMounted(volume, source));
        return std::optional(std::move(source));
    }
    if (volume.storage_class == agent::StorageClass::kPersistent)
        return store_.persistent(request.agent, volume.name);
    const auto id = ports::ephemeralVolume(request.execution, volume.name);
    if (auto used = inUseBy(id, request.execution)) return used;
    auto record = store_.get(id);
    if (record) return std::optional(std::move(*record));
    if (record.error().code != ErrorCode::kNotFound) return record.error();
    return std::nullopt;
}

Result<VolumeManager::Made> VolumeManager::findOrCreate(const ports::AttachRequest& request,
                                                        const agent::Volume& volume,
                                                        Deadline deadline) {
    AEGIS_TRY(auto before, find(request, volume));
    if (before) return Made{std::move(*before), false, {}};
    std::lock_guard lock(create_mutex_);
    // Another execution of the agent may have made a persistent one while this one waited.
    AEGIS_TRY(auto meanwhile, find(request, volume));
    if (meanwhile) return Made{std::move(*meanwhile), false, {}};
    return create(request, volume, deadline);
}

Result<VolumeManager::Made> VolumeManager::create(const ports::AttachRequest& request,
                                                  const agent::Volume& volume, Deadline deadline) {
    AEGIS_CHECK(checkRoom(volume.size_limit_bytes));
    bool persistent = volume.storage_class == agent::StorageClass::kPersistent;
    VolumeRecord record{.id = persistent ? VolumeId::generate(random_)
                                         : ports::ephemeralVolume(request.execution, volume.name),
                        .name = volume.name,
                        .agent_id = request.agent,
                        .storage_class = std::string(agent::name(volume.storage_class)),
                        .mount_point = volume.mount_point,
                        .size_limit_bytes = volume.size_limit_bytes,
                        .execution_id = request.execution,
                        .ttl_ms = volume.ttl_ms.value_or(0),
                        .created_at = clock_.utc()};
    AEGIS_TRY(auto source, ensureTemplate(layout_, volume.size_limit_bytes, deadline));
    auto guard = locks_.lock(record.id);
    addUser(request.execution, record);
    // The image first: a row always has one, and an image without a row is swept. An ephemeral one
    // gets its row when it is mounted: nobody else can ask for it before.
    auto ready = ready_.take(source);
    auto status = ready ? Status{} : os::loopAvailable();
    if (status)
        status = ready ? adoptImage(layout_, ready->image, record.id, persistent)
                       : createImage(layout_, source, record.id, persistent);
    if (status && persistent) status = store_.put(record);
    if (status) return Made{std::move(record), true, ready ? std::move(ready->mount) : os::Fd()};
    dropUser(record.id, request.execution);
    static_cast<void>(deleteImage(layout_, record.id));  // else the sweep does
    return status.error();
}

Status VolumeManager::checkRoom(std::uint64_t wanted_bytes) {
    // Without a cap it is no more than a warning, which need not cost every one of thousands of
    // volumes a look at all others.
    const auto now = clock_.boot();
    if (!options_.max_total_bytes && room_checked_.ns != 0 &&
        now.ns - room_checked_.ns < kRoomCheckNs)
        return {};
    room_checked_ = now;
    AEGIS_TRY(auto records, store_.list());
    std::uint64_t promised = wanted_bytes, used = 0;
    std::set<VolumeId> known;
    for (const auto& record : records) {
        known.insert(record.id);
        promised += record.size_limit_bytes;
        used += std::min(record.used_bytes, record.size_limit_bytes);
    }
    {
        // Their rows are under way.
        std::lock_guard lock(users_mutex_);
        for (const auto& [id, users] : users_)
            if (!known.contains(id)) promised += users.begin()->second.record.size_limit_bytes;
    }
    if (options_.max_total_bytes && promised > *options_.max_total_bytes)
        return {
            ErrorCode::kStorageFull,
            fmt::format("the node's volumes may have {} bytes in all; this one would make it {}",
                        *options_.max_total_bytes, promised),
            "delete volumes that are no longer needed, or raise the cap"};
    AEGIS_TRY(auto space, os::spaceOf(layout_.dir));
    if (promised - used > space.available_bytes)
        log(LogLevel::kWarn, "volumes may grow beyond the free disk space",
            {{"promised_bytes", fmt::to_string(promised)},
             {"free_bytes", fmt::to_string(space.available_bytes)}});
    return {};
}

// ---- detach ----

void VolumeManager::detach(const ExecutionId& execution, UtcTime ended_at, Deadline deadline,
                           std::function<void(Status)> done) {
    bool queued = pool_.submit([this, execution, ended_at, deadline, done] {
        done(detachAll(execution, ended_at, deadline));
    });
    if (!queued) done(queueFull());
}

Status VolumeManager::detachAll(const ExecutionId& execution, UtcTime ended_at, Deadline deadline) {
    std::set<VolumeId> ids;
    {
        std::lock_guard lock(users_mutex_);
        for (const auto& [id, users] : users_)
            if (users.contains(execution)) ids.insert(id);
    }
    // Attached by this process: all of them, and known. Else by one that was killed.
    if (ids.empty()) {
        AEGIS_TRY(auto records, store_.list());
        for (const auto& record : records)
            if (record.execution_id == execution && (record.mounted || isEphemeral(record)))
                ids.insert(record.id);
    }
    Status first;
    for (const auto& id : ids) {
        auto status = detachOne(id, execution, ended_at, deadline);
        if (!status && first) first = std::move(status);
    }
    return first;
}

Status VolumeManager::detachOne(const VolumeId& id, const ExecutionId& execution, UtcTime ended_at,
                                Deadline deadline) {
    auto guard = locks_.lock(id);
    auto used = inUseBy(id, execution);
    if (!dropUser(id, execution)) return {};
    // Nobody else can have had it: its row says no more.
    if (used && isEphemeral(*used) && used->ttl_ms <= 0) return removeSoon(id);
    auto record = store_.get(id);
    if (record) return release(std::move(*record), ended_at, deadline);
    if (record.error().code != ErrorCode::kNotFound) return record.error();
    // Its row may be under way.
    return used ? release(std::move(*used), ended_at, deadline) : Status{};
}

/// Its lock is held and nobody uses it any more.
Status VolumeManager::release(VolumeRecord record, UtcTime ended_at, Deadline deadline) {
    if (isEphemeral(record) && record.ttl_ms <= 0) return removeSoon(record.id);
    auto target = layout_.mount(record.id);
    auto mounted = os::isMountPoint(target);
    if (mounted && *mounted) {
        if (!isEphemeral(record)) AEGIS_CHECK(os::syncFileSystem(target));
        refresh(record);
        AEGIS_CHECK(unmountImage(target, deadline));
    }
    if (::rmdir(target.c_str()) != 0 && errno != ENOENT) return errnoError(errno, target);
    record.mounted = false;
    if (isEphemeral(record) && record.expires_at.ms == 0)
        record.expires_at = {ended_at.ms + record.ttl_ms};
    return store_.put(record);
}

/// Its lock is held. The row goes first: an image without one is swept.
Status VolumeManager::remove(const VolumeId& id, Deadline deadline) {
    auto target = layout_.mount(id);
    AEGIS_CHECK(unmountImage(target, deadline));
    if (::rmdir(target.c_str()) != 0 && errno != ENOENT) return errnoError(errno, target);
    auto erased = store_.erase(id);
    if (!erased && erased.error().code != ErrorCode::kNotFound) return erased;
    return deleteImage(layout_, id);
}

/// The same for one that nobody can ask for any more: seen by nobody when this returns, while the
/// file system's end, which takes longest, comes later.
Status VolumeManager::removeSoon(const VolumeId& id) {
    auto target = layout_.mount(id);
    AEGIS_TRY(os::Fd root, takeOff(target));
    if (::rmdir(target.c_str()) != 0 && errno != ENOENT) return errnoError(errno, target);
    AEGIS_CHECK(deleteImage(layout_, id));
    // Shared: jobs are copied. Where the queue is full this thread closes it.
    auto held = std::make_shared<os::Fd>(std::move(root));
    static_cast<void>(closers_.submit([held = std::move(held)] {}));
    // Where that fails a sweep finds the row without anything.
    store_.eraseSoon(id);
    return {};
}

// ---- what is there ----

void VolumeManager::refresh(VolumeRecord& record) const {
    auto target = layout_.mount(record.id);
    auto mounted = os::isMountPoint(target);
    record.mounted = mounted && *mounted;
    if (!record.mounted) return;
    if (auto space = os::spaceOf(target)) record.used_bytes = space->used();
}

std::vector<VolumeRecord> VolumeManager::full(const ExecutionId& execution) {
    std::vector<VolumeRecord> used;
    {
        std::lock_guard lock(users_mutex_);
        for (const auto& [id, users] : users_)
            if (auto at = users.find(execution); at != users.end())
                used.push_back(at->second.record);
    }
    std::vector<VolumeRecord> full;
    for (auto& record : used) {
        auto space = os::spaceOf(layout_.mount(record.id));
        if (!space) continue;
        if (!isFull(*space)) continue;
        refresh(record);
        full.push_back(std::move(record));
    }
    return full;
}

Result<std::vector<VolumeRecord>> VolumeManager::list() {
    AEGIS_TRY(auto records, store_.list());
    for (auto& record : records)
        refresh(record);
    return records;
}

Result<VolumeRecord> VolumeManager::get(const VolumeId& id) {
    AEGIS_TRY(auto record, store_.get(id));
    refresh(record);
    return record;
}

Status VolumeManager::erase(const VolumeId& id) {
    auto guard = locks_.lock(id);
    AEGIS_TRY(auto record, store_.get(id));
    refresh(record);
    if (record.mounted || hasUsers(id))
        return {
            ErrorCode::kConflict,
            fmt::format("volume {} is in use by execution {}", id.str(), record.execution_id.str()),
            "wait for the execution to end, or cancel it"};
    return remove(id, Deadline::never());
}

std::optional<VolumeRecord> VolumeManager::inUseBy(const VolumeId& id,
                                                   const ExecutionId& execution) {
    std::lock_guard lock(users_mutex_);
    const auto at = users_.find(id);
    if (at == users_.end() || !at->second.contains(execution)) return std::nullopt;
    return at->second.at(execution).record;
}

bool VolumeManager::hasUsers(const VolumeId& id) {
    std::lock_guard lock(users_mutex_);
    return users_.contains(id);
}

Status VolumeManager::available() {
    AEGIS_CHECK(layout_made_);
    if (::geteuid() != 0 || os::inOwnUserNamespace())
        return {ErrorCode::kPermissionDenied, "volumes with a size limit need root",
                "run the daemon as root"};
    if (auto mkfs = os::findProgram("mkfs.ext4"); !mkfs)
        return {ErrorCode::kUnsupported, mkfs.error().message, "install the package e2fsprogs"};
    AEGIS_CHECK(os::loopAvailable());
    std::lock_guard lock(create_mutex_);
    if (probed_) return {};
    // Making a template mounts it: what a container or a policy forbids shows here, not in a run.
    auto made = ensureTemplate(layout_, kMinVolumeBytes, Deadline::in(clock_.boot(), kProbeMs));
    if (made) {
        auto target = layout_.templateMount();
        auto mounted = mountImage(*made, target);
        if (mounted) mounted = unmountImage(target, Deadline::never());
        probed_ = mounted.has_value();
        if (probed_) return {};
        made = mounted.error();
    }
    Error error = std::move(made.error()).within("volumes cannot be mounted");
    if (error.hint.empty()) error.hint = "run the daemon as root, with CAP_SYS_ADMIN, on the host";
    return error;
}

}  // namespace aegis::volume
