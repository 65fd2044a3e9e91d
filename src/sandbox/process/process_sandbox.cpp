#include "sandbox/process/process_sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "base/log.h"
#include "os/clock.h"
#include "os/files.h"
#include "os/mount_tree.h"
#include "os/socket.h"
#include "sandbox/common/mounts.h"
#include "sandbox/common/one_line.h"

namespace aegis::sandbox {
namespace {

namespace launch = proto::launch;

constexpr std::int64_t kBuildMs = 10'000;
constexpr std::int64_t kKillMs = 10'000;
constexpr int kCrowdPerCpu = 2;
constexpr std::size_t kIdBytes = 36;
constexpr std::uint64_t kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

Result<os::Fd> readOnlyTree(const std::string& path) {
    AEGIS_TRY(const os::Fd fd, os::openFile(path, O_PATH | O_DIRECTORY));
    return os::cloneTree(fd.get(), MOUNT_ATTR_RDONLY | kSafe, path);
}

Places launchPlaces(const std::vector<OpenMount>& mounts) {
    Places out;
    for (const auto& one : mounts)
        out.push_back({one.target, one.directory, !one.read_only});
    return out;
}

/// Of the tmpfs at /tmp; 0: a volume is mounted there.
std::uint64_t tmpBytes(const ports::SandboxSpec& spec, const Places& places) {
    const bool taken = std::ranges::find(places, "/tmp", &launch::Mount::target) != places.end();
    return taken ? 0 : spec.tmp_bytes;
}

Result<std::vector<os::Fd>> cloneMounts(const std::vector<OpenMount>& mounts) {
    std::vector<os::Fd> trees;
    for (const auto& one : mounts) {
        AEGIS_TRY(auto tree, cloneMount(one));
        trees.push_back(std::move(tree));
    }
    return trees;
}

/// Waits for the new process's word that its root stands.
Status awaitReady(int control, Deadline deadline) {
    AEGIS_CHECK(os::waitReady(control, POLLIN, deadline));
    std::array<char, 1024> text{};
    AEGIS_TRY(const auto size, os::recvSome(control, text, deadline));
    if (size >= 1 && text[0] == launch::kReady) return {};
    if (size == 0) return {ErrorCode::kUnavailable, "the sandbox's process died while it was made"};
    return {ErrorCode::kUnavailable,
            "the sandbox's root could not be made: " + oneLine({text.data() + 1, size - 1})};
}

}  // namespace

std::string groupName(const ports::SandboxId& id) {
    return fmt::format("{}-{}", id.execution.str(), id.ordinal);
}

std::optional<ports::SandboxId> sandboxOfGroup(const std::string& group) {
    if (group.size() < kIdBytes + 2 || group[kIdBytes] != '-') return std::nullopt;
    const auto execution = ExecutionId::parse(group.substr(0, kIdBytes));
    int ordinal = 0;
    const char* begin = group.data() + kIdBytes + 1;
    const char* last = group.data() + group.size();
    const auto [end, error] = std::from_chars(begin, last, ordinal);
    if (!execution || error != std::errc{} || end != last) return std::nullopt;
    return ports::SandboxId{*execution, ordinal};
}

Result<Prison> makePrison(ProcessContext& context, const PrisonPlan& plan, Deadline deadline) {
    std::vector<os::Fd> trees;
    AEGIS_TRY(auto image, readOnlyTree(plan.image_root));
    AEGIS_TRY(auto bin, os::cloneTree(context.guest_dir.get(), MOUNT_ATTR_RDONLY | kSafe,
                                      "the guest's programs"));
    AEGIS_TRY(auto run, readOnlyTree(plan.run_dir));
    AEGIS_TRY(auto pair, os::socketPair());
    AEGIS_TRY(const auto mounts, openMounts(*plan.spec));
    AEGIS_TRY(const auto volumes, cloneMounts(mounts));
    launch::Spawn spawn;
    spawn.mounts = launchPlaces(mounts);
    spawn.tmp_bytes = tmpBytes(*plan.spec, spawn.mounts);
    std::vector<int> fds{image.get(), bin.get(), run.get(), pair.second.get()};
    // The new process's end blocks: it has nothing else to do.
    ::fcntl(pair.second.get(), F_SETFL, 0);
    std::vector<os::Fd> doors;
    if (!plan.group.empty())
        AEGIS_CHECK(addEntrance(*context.cgroups, plan.group, spawn.entrance, fds, doors));
    for (const auto& volume : volumes)
        fds.push_back(volume.get());
    AEGIS_TRY(auto child, context.launcher.spawn(std::move(spawn), fds, deadline));
    pair.second.reset();
    Prison prison{std::move(child.pidfd), child.pid, std::move(pair.first)};
    AEGIS_CHECK(awaitReady(prison.control.get(), deadline.earlier(inMs(kBuildMs))));
    return prison;
}

ProcessSandbox::ProcessSandbox(ProcessContext& context, ports::SandboxSpec spec, Deadline deadline,
                               ports::SandboxSink& sink)
    : GuestSandbox(context.guest, std::move(spec), deadline, sink),
      context_(context),
      group_(groupName(spec_.id)) {
    ++context_.alive;
}

// ---- in the pool ----

void ProcessSandbox::prepare() {
    auto prepared = std::make_shared<Prepared>();  // shared: posted tasks must be copyable
    if (auto made = makeAll(*prepared); !made) prepared->error = std::move(made.error());
    context_.guest.reactor.post(
        [self = self<ProcessSandbox>(), prepared] { self->onPrepared(*prepared); });
}

Status ProcessSandbox::makeAll(Prepared& prepared) {
    if (abandoned_) return {ErrorCode::kCancelled, "closed"};
    AEGIS_CHECK(context_.available());
    AEGIS_TRY(prepared.image, context_.images.resolve(spec_.image));
    if (startsManaged(spec_)) {
        auto mounts = openMounts(spec_);
        if (!mounts) {
            // What is wrong with a volume is this sandbox's trouble alone.
            prepared.fatal = false;
            return std::move(mounts.error());
        }
        Status ran;
        StemPool::Wish wish{launchPlaces(*mounts), {limits(), 0}, spec_.keep_ready};
        wish.limits.tmp_bytes = tmpBytes(spec_, wish.places);
        auto stem = context_.stems->take(prepared.image, wish, deadline_,
                                         [&] { ran = prepareRun(prepared.run); });
        if (stem) return makeFromStem(prepared, std::move(*stem), wish, *mounts, std::move(ran));
        AEGIS_CHECK(std::move(ran));
    }
    AEGIS_CHECK(prepareRun(prepared.run));
    return makeNew(prepared);
}

os::CgroupLimits ProcessSandbox::limits() const {
    const int millicores = std::min(spec_.cpu_millicores, context_.host_cpus * 1000);
    return {millicores, spec_.memory_bytes, spec_.pids + 1};
}

Status ProcessSandbox::makeFromStem(Prepared& prepared, Stem stem, const StemPool::Wish& wish,
                                    const std::vector<OpenMount>& mounts, Status so_far) {
    group_ = stem.group;
    origin_ = stem.origin;
    prepared.from_stem = true;
    prepared.fatal = false;
    auto ordered = so_far ? order(prepared, stem, wish, mounts) : std::move(so_far);
    prepared.prison = {std::move(stem.pidfd), stem.pid, std::move(stem.socket)};
    return ordered;
}

Status ProcessSandbox::order(Prepared& prepared, Stem& stem, const StemPool::Wish& wish,
                             const std::vector<OpenMount>& mounts) {
    const auto& places = wish.places;
    const auto& limits = wish.limits;
    const auto deadline = deadline_.earlier(inMs(kBuildMs));
    AEGIS_TRY(const auto trees, cloneMounts(mounts));
    if (stem.standing) {
        prepared.run = std::move(stem.standing->run);
        prepared.peer = std::move(stem.standing->peer);
    }
    AEGIS_CHECK(prepareRun(prepared.run));
    if (stem.limits != limits.group) AEGIS_CHECK(context_.cgroups->limit(group_, limits.group));
    if (!stem.standing) {
        // What it would do ahead costs the others' time, where processors do not wait for work.
        const bool unhurried = context_.alive <= kCrowdPerCpu * context_.host_cpus;
        AEGIS_CHECK(finishStem(stem, prepared.run.dir->shared,
                               {limits.tmp_bytes, places, unhurried}, deadline));
    } else if (stem.standing->tmp_bytes != limits.tmp_bytes) {
        AEGIS_CHECK(resizeTmp(stem, limits.tmp_bytes));
    }
    return sendMounts(stem, trees, deadline);
}

Status ProcessSandbox::makeNew(Prepared& prepared) {
    AEGIS_CHECK(context_.cgroups->create(group_, limits()));
    if (abandoned_) return {ErrorCode::kCancelled, "closed"};
    auto prison = makePrison(
        context_, {prepared.image.root, prepared.run.dir->shared, &spec_, group_}, deadline_);
    if (!prison) {
        // What is wrong with a volume is this sandbox's trouble alone.
        prepared.fatal = prison.error().code == ErrorCode::kUnsupported;
        return std::move(prison.error());
    }
    prepared.prison = std::move(*prison);
    return {};
}

// ---- on the reactor's thread ----

void ProcessSandbox::onPrepared(Prepared& prepared) {
    attach(std::move(prepared.run), {prepared.image.env, prepared.image.working_dir});
    if (prepared.prison.pidfd) watchProcess(std::move(prepared.prison.pidfd), prepared.prison.pid);
    if (dying_) return destroy();
    if (prepared.error) return fail(std::move(*prepared.error), prepared.fatal);
    if (prepared.peer) return adopt(std::move(*prepared.peer));
    listen();
    if (prepared.from_stem) {
        stem_ = std::move(prepared.prison.control);
        return;
    }
    if (auto told = os::writeAll(prepared.prison.control.get(), {&launch::kGo, 1}); !told)
        fail(std::move(told.error()).within("the sandbox's process"), false);
}

GuestSandbox::Verdict ProcessSandbox::judge(const CtlPeer& peer) const {
    const bool ours =
        peer.first_process && peer.pid == pid_ && context_.cgroups->holds(peer.proc_cgroup, group_);
    return ours ? Verdict::kOurs : Verdict::kForeign;
}

void ProcessSandbox::autopsy() {
    if (const auto why = stem_ ? lastWords(stem_) : std::string(); !why.empty())
        return fail({ErrorCode::kUnavailable, "the sandbox could not be made: " + why}, false);
    const bool out_of_memory = oomKills() > 0;
    died(out_of_memory ? "the sandbox's first process died (out of memory)"
                       : "the sandbox's first process died",
         out_of_memory);
}

void ProcessSandbox::destroyUnseen() {
    if (!preparing_) onDead();
}

std::string ProcessSandbox::shortName() const { return fmt::format("pid {}", pid_); }

void ProcessSandbox::handOver(std::optional<RunDir> run,
                              std::unique_ptr<ports::GuestListener> listener) {
    listener.reset();
    if (context_.cgroups == nullptr) return;  // it never came that far
    stem_.reset();
    auto clean = [cgroups = context_.cgroups, stems = context_.stems, group = group_,
                  origin = std::move(origin_), run = std::move(run)] {
        // First: the output in it is charged to the group.
        Status gone;
        if (run) {
            if (auto removed = RunDirs::remove(*run); !removed) gone = std::move(removed);
        }
        if (auto ended = cgroups->destroy(group, inMs(kKillMs)); !ended) gone = std::move(ended);
        if (origin) stems->released(group);
        if (!gone)
            log(LogLevel::kWarn, "a sandbox's remains are left for the next start",
                {{"sandbox", group}, {"error", gone.error().message}});
    };
    if (!context_.guest.pool.submit(clean)) clean();
}

}  // namespace aegis::sandbox
