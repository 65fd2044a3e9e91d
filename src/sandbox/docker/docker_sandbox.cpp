// A container as a sandbox: made by the engine's calls, explained by them when it died.
#include "sandbox/docker/docker_sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/log.h"
#include "os/clock.h"
#include "sandbox/common/mounts.h"
#include "sandbox/docker/late_mounts.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kEngineMs = 60'000;  // to make or start a container, on a busy machine
constexpr std::int64_t kInspectMs = 10'000;
constexpr std::int64_t kAutopsyMs = 3'000;
constexpr std::int64_t kQuietMs = 30;  // until a sandbox works, if it was ready

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

/// One that was started ahead has nobody's name, and labels that cannot be changed. It may have
/// ended by now.
void showWhose(Engine& engine, const std::string& container, const std::string& name) {
    const auto renamed = engine.renameContainer(container, name, inMs(kInspectMs));
    if (!renamed && renamed.error().code != ErrorCode::kNotFound)
        log(LogLevel::kDebug, "a container keeps the name it had",
            {{"container", container}, {"error", renamed.error().message}});
}

}  // namespace

DockerSandbox::DockerSandbox(DockerContext& context, ports::SandboxSpec spec, Deadline deadline,
                             ports::SandboxSink& sink)
    : GuestSandbox(context.guest, std::move(spec), deadline, sink), context_(context) {}

// ---- in the pool ----

void DockerSandbox::prepare() {
    auto prepared = std::make_shared<Prepared>();  // shared: posted tasks must be copyable
    if (auto made = prepareContainer(*prepared); !made) prepared->error = std::move(made.error());
    const bool go_on = !prepared->error;
    const bool warm = prepared->peer.has_value();
    const auto container = prepared->container;
    const auto name = go_on ? nameOf(*prepared->run.dir) : std::string();
    context_.guest.reactor.post(
        [self = self<DockerSandbox>(), prepared] { self->onPrepared(*prepared); });
    if (!go_on) return;
    if (!warm) {
        // The reactor already listens: PID 1 may connect before the engine has answered.
        const bool tried = !abandoned_;
        auto started =
            tried ? context_.engine.startContainer(container, deadline_.earlier(inMs(kEngineMs)))
                  : Status(ErrorCode::kCancelled, "closed");
        context_.guest.reactor.post([self = self<DockerSandbox>(), tried, started]() mutable {
            self->onEngineStarted(std::move(started), tried);
        });
    }
    afterwards(warm, container, name);
}

/// What would slow this one down before it works.
void DockerSandbox::afterwards(bool warm, const std::string& container, const std::string& name) {
    const auto job = [&context = context_, shape = shape_, keep = spec_.keep_ready, warm, container,
                      name] {
        if (warm) showWhose(context.engine, container, name);
        if (shape) context.warm.restock(*shape, keep);
    };
    if (!warm) return job();  // the engine has just done as much for this one
    context_.guest.reactor.post([&guest = context_.guest, job] {
        guest.reactor.at(inMs(kQuietMs), [&guest, job] { (void)guest.pool.submit(job); });
    });
}

/// Sets it apart from others of the execution that the engine may still know.
std::string DockerSandbox::nameOf(const RunDir& run) const {
    return fmt::format("aegis-{}-{}-{}", spec_.id.execution.str(), spec_.id.ordinal, run.name);
}

Status DockerSandbox::prepareContainer(Prepared& prepared) {
    if (abandoned_) return {ErrorCode::kCancelled, "closed"};
    AEGIS_TRY(prepared.image,
              context_.images.resolve(spec_.image, spec_.image_pull_policy, deadline_));
    if (abandoned_) return {ErrorCode::kCancelled, "closed"};
    auto mounts = openMounts(spec_);
    if (!mounts) {
        prepared.fatal = false;
        return std::move(mounts.error());
    }
    if (takeWarm(prepared, *mounts)) return {};
    AEGIS_CHECK(prepareRun(prepared.run));
    AEGIS_CHECK(writeHosts(*prepared.run.dir));
    AEGIS_CHECK(makeContainer(prepared, *mounts));
    prepared.mounts = std::move(*mounts);
    return {};
}

bool DockerSandbox::takeWarm(Prepared& prepared, const std::vector<OpenMount>& mounts) {
    if (!context_.warm.offered()) return false;
    shape_ = shapeOf(spec_, prepared.image, mounts);
    if (!shape_) return false;
    auto warm = context_.warm.take(*shape_);
    if (!warm) return false;
    auto ready = mounts.empty() ? Status{} : mountInto(warm->peer.pid, warm->peer.pidfd, mounts);
    if (ready) ready = prepareRun(warm->run);
    if (!ready) {
        log(LogLevel::kWarn, "a container that was started ahead cannot be used",
            {{"container", warm->id}, {"error", ready.error().message}});
        context_.warm.refuse(*shape_, std::move(*warm));
        return false;
    }
    prepared.run = std::move(warm->run);
    prepared.container = std::move(warm->id);
    prepared.peer = std::move(warm->peer);
    return true;
}

Status DockerSandbox::makeContainer(Prepared& prepared, const std::vector<OpenMount>& mounts) {
    const auto places = placesOf(mounts);
    const ContainerPlan plan{.spec = &spec_,
                             .node = context_.node,
                             .image = &prepared.image,
                             .places = &places,
                             .run = *prepared.run.dir,
                             .guest_dir = context_.guest_dir,
                             .host_cpus = context_.host_cpus};
    const auto name = nameOf(*prepared.run.dir);
    // Until the engine has answered, the container may or may not exist, under this name.
    prepared.container = name;
    auto id = context_.engine.createContainer(name, containerConfig(plan),
                                              deadline_.earlier(inMs(kEngineMs)));
    if (!id) {
        const auto code = id.error().code;
        if (code == ErrorCode::kInvalid || code == ErrorCode::kNotFound ||
            code == ErrorCode::kUnreachable || code == ErrorCode::kPermissionDenied)
            prepared.container.clear();
        return std::move(id.error());
    }
    prepared.container = *id;
    return {};
}

// ---- on the reactor's thread ----

void DockerSandbox::onPrepared(Prepared& prepared) {
    container_ = prepared.container;
    attach(std::move(prepared.run), {prepared.image.env, prepared.image.working_dir});
    if (prepared.error) {
        if (dying_) return destroy();
        return fail(std::move(*prepared.error), prepared.fatal);
    }
    if (prepared.peer) {
        warm_ = engine_started_ = start_tried_ = true;
        return adopt(std::move(*prepared.peer));
    }
    mounts_ = std::move(prepared.mounts);
    engine_busy_ = true;
    listen();
}

void DockerSandbox::onEngineStarted(Status status, bool tried) {
    engine_busy_ = false;
    start_tried_ = tried;
    engine_started_ = status.has_value();
    if (dying_) return destroy();
    if (!status && phase_ == Phase::kStarting)
        return fail(std::move(status.error()).within("the sandbox's container did not start"),
                    true);
    if (dead_) return autopsy();
    if (pidfd_) {
        if (said_hello_ && !start_sent_) beforePayload();
        return;
    }
    const auto id = container_;
    submit([self = self<DockerSandbox>(), id] {
        auto state = self->context_.engine.inspectContainer(id, inMs(kInspectMs));
        self->context_.guest.reactor.post(
            [self, state = std::move(state)]() mutable { self->onInspected(std::move(state)); });
    });
}

void DockerSandbox::onInspected(Result<ContainerState> state) {
    if (pidfd_ || dying_) return;
    if (!state) return fail(std::move(state.error()), true);
    if (!state->running)
        return fail({ErrorCode::kUnavailable,
                     fmt::format("the container ended before it was ready (exit code {}{})",
                                 state->exit_code, state->out_of_memory ? ", out of memory" : "")},
                    false);
    if (auto peer = takeHeldPeer()) {
        if (peer->pid != state->pid)
            return fail({ErrorCode::kPermissionDenied,
                         "a process that is not the container's first one took its control socket"},
                        false);
        return adopt(std::move(*peer));
    }
    auto pidfd = openPidfd(state->pid);
    if (!pidfd)
        return fail({ErrorCode::kUnavailable, "the container ended before it was ready"}, false);
    watchProcess(std::move(*pidfd), state->pid);
}

GuestSandbox::Verdict DockerSandbox::judge(const CtlPeer& peer) const {
    if (!peer.first_process) return Verdict::kForeign;
    // Once the engine has told the pid, that; before, the container's id in the cgroup's name.
    if (pid_ != 0) return peer.pid == pid_ ? Verdict::kOurs : Verdict::kForeign;
    return inCgroupOf(peer.proc_cgroup, container_) ? Verdict::kOurs : Verdict::kUnknownYet;
}

void DockerSandbox::beforePayload() {
    const bool few = !warm_ && spec_.pids > 0 && spec_.pids + 1 < kPidsToStart;
    if (mounts_.empty() && !few) return GuestSandbox::beforePayload();
    if (few && !engine_started_) return;
    start_sent_ = true;
    // Shared: posted tasks must be copyable.
    auto mounts = std::make_shared<const std::vector<OpenMount>>(std::move(mounts_));
    auto process = std::make_shared<const os::Fd>(::fcntl(pidfd_.get(), F_DUPFD_CLOEXEC, 0));
    const auto id = container_;
    const auto pid = pid_;
    submit([self = self<DockerSandbox>(), id, few, mounts, pid, process] {
        auto done = self->finishContainer(id, few, pid, *process, *mounts);
        self->context_.guest.reactor.post([self, done = std::move(done)]() mutable {
            if (self->dying_ || hasEnded(self->pidfd_)) return;  // its end is on the way
            if (done) done = self->sendStart();
            if (!done) self->fail(std::move(done.error()), true);
        });
    });
}

/// Before any foreign code runs.
Status DockerSandbox::finishContainer(const std::string& container, bool few, pid_t pid,
                                      const os::Fd& process, const std::vector<OpenMount>& mounts) {
    if (!process) return {ErrorCode::kUnavailable, "no descriptor is free"};
    // The limit that let the engine set the container up is lowered.
    if (few) AEGIS_CHECK(context_.engine.setPidsLimit(container, spec_.pids + 1, inMs(kInspectMs)));
    return mounts.empty() ? Status{} : mountInto(pid, process, mounts);
}

// ---- ends ----

void DockerSandbox::destroyUnseen() {
    if (preparing_ || engine_busy_) return;  // comes back with what there is to kill
    if (container_.empty() || !start_tried_) return onDead();
    // The engine may have started it and could not say so: gone when the engine has removed it.
    start_tried_ = false;
    Remains remains;
    remains.container = container_;
    remains.removed = [self = self<DockerSandbox>()] {
        self->context_.guest.reactor.post([self] {
            self->container_.clear();
            self->onDead();
        });
    };
    context_.janitor.take(std::move(remains));
}

void DockerSandbox::autopsy() {
    // Asking before /start has answered can hang the engine; onEngineStarted() comes back here.
    if (engine_busy_) return;
    const auto id = container_;
    submit([self = self<DockerSandbox>(), id] {
        Autopsy result;
        const auto deadline = inMs(kAutopsyMs);
        auto waited = self->context_.engine.waitContainer(id, deadline);
        if (auto state = self->context_.engine.inspectContainer(id, deadline);
            waited && state && !state->running)
            result.state = *state;
        self->context_.guest.reactor.post([self, result] { self->onAutopsy(result); });
    });
}

void DockerSandbox::onAutopsy(const Autopsy& result) {
    if (dying_) return;
    const bool out_of_memory = oomKills() > 0 || (result.state && result.state->out_of_memory);
    std::string how;
    if (result.state) how = fmt::format("exit code {}", result.state->exit_code);
    if (out_of_memory) how += how.empty() ? "out of memory" : ", out of memory";
    died(how.empty() ? "the container died" : fmt::format("the container died ({})", how),
         out_of_memory);
}

void DockerSandbox::handOver(std::optional<RunDir> run,
                             std::unique_ptr<ports::GuestListener> listener) {
    Remains remains;
    remains.container = std::exchange(container_, {});
    remains.run = std::move(run);
    remains.listener = std::move(listener);
    context_.janitor.take(std::move(remains));
}

}  // namespace aegis::sandbox
