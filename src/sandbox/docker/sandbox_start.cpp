// How a sandbox comes up: the pool's part, and the conversation with its first process.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "os/clock.h"
#include "os/files.h"
#include "sandbox/docker/engine_answers.h"
#include "sandbox/docker/mounts.h"
#include "sandbox/docker/sandbox.h"

namespace aegis::sandbox {
namespace {

constexpr std::size_t kInlinePromptBytes = 90 << 10;  // below proto::ctl::kMaxArgvBytes
constexpr std::uint64_t kCaptureCap = 1 << 20;
constexpr int kMaxRejectedPeers = 16;
constexpr std::int64_t kEngineMs = 60'000;  // to make or start a container, on a busy machine
constexpr std::int64_t kInspectMs = 10'000;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

/// A sealed memory file with `text`, to be read from its beginning.
Result<os::Fd> textFile(const std::string& text) {
    os::Fd fd(::memfd_create("prompt", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return errnoError(errno, "prompt");
    AEGIS_CHECK(os::writeAll(fd.get(), text));
    constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    if (::lseek(fd.get(), 0, SEEK_SET) != 0 || ::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0)
        return errnoError(errno, "prompt");
    return fd;
}

/// A prompt that may be an argument of a process: short, without NUL, and not "-", which says
/// stdin.
bool fitsArgument(const std::string& prompt) {
    return prompt.size() <= kInlinePromptBytes && prompt != "-" &&
           prompt.find('\0') == std::string::npos;
}

proto::ctl::Start startMessage(const ports::SandboxSpec& spec, std::vector<std::string> env,
                               std::string cwd, bool as_argument) {
    proto::ctl::Start start;
    // Imported, not run as a file: only so is its compiled form used.
    if (spec.bootstrap_path.empty())
        start.command.argv = {"python3",
                              "-I",
                              "-S",
                              "-X",
                              "utf8",
                              "-c",
                              "import sys; sys.path.append('/aegis/bin'); "
                              "import bootstrap; bootstrap.main()"};
    else
        start.command.argv = {"python3", spec.bootstrap_path};
    start.command.argv.push_back(as_argument ? *spec.prompt : "-");
    start.command.env = std::move(env);
    start.command.cwd = std::move(cwd);
    start.has_stdin = !as_argument;
    start.stdout_cap = kCaptureCap;
    start.stderr_cap = kCaptureCap;
    return start;
}

}  // namespace

void Sandbox::start() {
    began_ = os::systemClock().boot();
    start_timer_ = context_.reactor.at(deadline_, [self = shared_from_this()] {
        self->start_timer_ = 0;
        self->fail({ErrorCode::kTimeout, "the sandbox did not start in time"}, false);
    });
    submit([self = shared_from_this()] { self->prepare(); });
}

void Sandbox::submit(std::function<void()> job) {
    if (context_.pool.submit(std::move(job))) return;
    preparing_ = false;
    fail({ErrorCode::kTooMany, "too many sandboxes are being started"}, false);
}

// ---- in the pool ----

void Sandbox::prepare() {
    auto prepared = std::make_shared<Prepared>();  // shared: posted tasks must be copyable
    if (auto made = prepareContainer(*prepared); !made) prepared->error = std::move(made.error());
    const bool go_on = !prepared->error;
    const auto container = prepared->container;
    context_.reactor.post([self = shared_from_this(), prepared] { self->onPrepared(prepared); });
    if (!go_on) return;
    // The reactor already listens: PID 1 may connect before the engine has answered.
    const bool tried = !abandoned_;
    auto started =
        tried ? context_.engine.startContainer(container, deadline_.earlier(inMs(kEngineMs)))
              : Status(ErrorCode::kCancelled, "closed");
    context_.reactor.post([self = shared_from_this(), tried, started]() mutable {
        self->onEngineStarted(std::move(started), tried);
    });
}

Status Sandbox::prepareContainer(Prepared& prepared) {
    if (abandoned_) return {ErrorCode::kCancelled, "closed"};
    AEGIS_TRY(prepared.image,
              context_.images.resolve(spec_.image, spec_.image_pull_policy, deadline_));
    if (abandoned_) return {ErrorCode::kCancelled, "closed"};
    AEGIS_TRY(prepared.run, context_.run_dirs.create());
    AEGIS_TRY(prepared.listener, listenCtl(prepared.run->ctlSocket()));
    AEGIS_TRY(prepared.guest_listener, context_.listeners(prepared.run->apiSocket(), spec_.id));
    return makeContainer(prepared);
}

Status Sandbox::makeContainer(Prepared& prepared) {
    auto mounts = resolveMounts(spec_);
    if (!mounts) {
        prepared.fatal = false;
        return std::move(mounts.error());
    }
    const ContainerPlan plan{&spec_,        context_.node,      &prepared.image,   &*mounts,
                             *prepared.run, context_.guest_dir, context_.host_cpus};
    const auto name = fmt::format("aegis-{}-{}-{}", spec_.id.execution.str(), spec_.id.ordinal,
                                  prepared.run->name);
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
    prepared.container_known = true;
    return {};
}

// ---- on the reactor's thread ----

void Sandbox::onPrepared(std::shared_ptr<Prepared> prepared) {
    preparing_ = false;
    container_ = prepared->container;
    run_ = prepared->run;
    image_ = std::move(prepared->image);
    guest_listener_ = std::move(prepared->guest_listener);
    listener_ = std::move(prepared->listener);
    if (prepared->error) {
        if (dying_) return destroy();
        return fail(std::move(*prepared->error), prepared->fatal);
    }
    engine_busy_ = true;
    listener_watch_ = context_.reactor.watch(
        listener_.get(), [self = shared_from_this()] { self->onListenerReady(); });
}

void Sandbox::onEngineStarted(Status status, bool tried) {
    engine_busy_ = false;
    start_tried_ = tried;
    engine_started_ = status.has_value();
    if (dying_) return destroy();
    if (!status && phase_ == Phase::kStarting)
        return fail(std::move(status.error()).within("the sandbox's container did not start"),
                    true);
    if (dead_) return autopsy();
    if (pidfd_) {
        if (said_hello_ && !start_sent_) startPayload();
        return;
    }
    const auto id = container_;
    submit([self = shared_from_this(), id] {
        auto state = self->context_.engine.inspectContainer(id, inMs(kInspectMs));
        self->context_.reactor.post(
            [self, state = std::move(state)]() mutable { self->onInspected(std::move(state)); });
    });
}

void Sandbox::onInspected(Result<ContainerState> state) {
    if (pidfd_ || dying_) return;
    if (!state) return fail(std::move(state.error()), true);
    if (!state->running)
        return fail({ErrorCode::kUnavailable,
                     fmt::format("the container ended before it was ready (exit code {}{})",
                                 state->exit_code, state->out_of_memory ? ", out of memory" : "")},
                    false);
    if (held_peer_) {
        if (held_peer_->pid != state->pid)
            return fail({ErrorCode::kPermissionDenied,
                         "a process that is not the container's first one took its control socket"},
                        false);
        auto peer = std::move(*held_peer_);
        held_peer_.reset();
        return adopt(std::move(peer));
    }
    auto pidfd = openPidfd(state->pid);
    if (!pidfd)
        return fail({ErrorCode::kUnavailable, "the container ended before it was ready"}, false);
    watchProcess(std::move(*pidfd), state->pid);
}

void Sandbox::onListenerReady() {
    auto accepted = acceptCtl(listener_.get());
    if (!accepted) return fail(std::move(accepted.error()), false);
    if (!*accepted || dead_) return;
    CtlPeer peer = std::move(**accepted);
    if (isOurs(peer)) return adopt(std::move(peer));
    if (peer.first_process && !pidfd_ && !held_peer_) {
        held_peer_ = std::move(peer);
        return;
    }
    // Nothing but PID 1 of ours runs before `start` is sent, and the listener closes when it is
    // here.
    if (++rejected_peers_ > kMaxRejectedPeers)
        fail({ErrorCode::kPermissionDenied, "the sandbox's control socket is under attack"}, false);
}

bool Sandbox::isOurs(const CtlPeer& peer) const {
    if (!peer.first_process) return false;
    // Once the engine has told the pid, that; before, the container's id in the cgroup's name.
    return pid_ != 0 ? peer.pid == pid_ : inCgroupOf(peer.proc_cgroup, container_);
}

void Sandbox::adopt(CtlPeer peer) {
    context_.reactor.forget(std::exchange(listener_watch_, 0));
    listener_.reset();
    ::unlink(run_->ctlSocket().c_str());
    connection_ = std::move(peer.connection);
    if (auto counter = OomCounter::open(peer.proc_cgroup))
        oom_ = std::move(*counter);
    else
        log(LogLevel::kDebug, "out-of-memory kills are asked of the engine",
            {{"error", counter.error().message}});
    if (!pidfd_) watchProcess(std::move(peer.pidfd), peer.pid);
    if (dying_) return destroy();
    connection_watch_ = context_.reactor.watch(connection_.get(),
                                               [self = shared_from_this()] { self->receiveAll(); });
}

void Sandbox::watchProcess(os::Fd pidfd, pid_t pid) {
    pidfd_ = std::move(pidfd);
    pid_ = pid;
    pid_watch_ = context_.reactor.watch(pidfd_.get(),
                                        [self = shared_from_this()] { self->onProcessEnded(); });
}

void Sandbox::onMessage(const proto::ctl::Hello& message) {
    if (said_hello_ || message.state != proto::ctl::State::kIdle)
        return breach("the sandbox's init said hello out of turn");
    said_hello_ = true;
    api_port_ = message.api_port;
    env_ = payloadEnv(spec_, image_, api_port_);
    startPayload();
}

void Sandbox::startPayload() {
    if (spec_.pids + 1 < kPidsToStart && spec_.pids > 0) {
        // The limit that let the engine set the container up is lowered before any foreign code
        // runs.
        if (!engine_started_) return;
        start_sent_ = true;
        const auto id = container_;
        submit([self = shared_from_this(), id] {
            auto set =
                self->context_.engine.setPidsLimit(id, self->spec_.pids + 1, inMs(kInspectMs));
            self->context_.reactor.post([self, set = std::move(set)]() mutable {
                if (self->dying_) return;
                if (set) set = self->sendStart();
                if (!set) self->fail(std::move(set.error()), true);
            });
        });
        return;
    }
    start_sent_ = true;
    if (auto sent = sendStart(); !sent) fail(std::move(sent.error()), true);
}

Status Sandbox::sendStart() {
    AEGIS_TRY(stdout_, makeCapture(*run_, "stdout"));
    AEGIS_TRY(stderr_, makeCapture(*run_, "stderr"));
    const auto cwd = workingDirectory(spec_, image_);
    bool as_argument = fitsArgument(*spec_.prompt);
    auto message =
        proto::ctl::encode(proto::ctl::HostMessage(startMessage(spec_, env_, cwd, as_argument)));
    if (!message && as_argument) {
        as_argument = false;
        message = proto::ctl::encode(
            proto::ctl::HostMessage(startMessage(spec_, env_, cwd, as_argument)));
    }
    if (!message) return std::move(message.error());
    std::vector<int> fds{stdout_.writer.get(), stderr_.writer.get()};
    os::Fd prompt;
    if (!as_argument) {
        AEGIS_TRY(prompt, textFile(*spec_.prompt));
        fds.push_back(prompt.get());
    }
    AEGIS_CHECK(sendCtl(connection_.get(), *message, fds));
    stdout_.writer.reset();
    stderr_.writer.reset();
    return {};
}

void Sandbox::onMessage(const proto::ctl::Started&) {
    if (phase_ != Phase::kStarting || !start_sent_ || stdout_.writer)
        return breach("the sandbox's init reported a start out of turn");
    context_.reactor.forget(std::exchange(start_timer_, 0));
    phase_ = Phase::kUp;
    context_.roots.add(spec_.id, pid_, pidfd_);
    const auto took_ns = os::systemClock().boot().ns - began_.ns;
    sink_.up(spec_.id, {"docker", container_.substr(0, 12), took_ns / 1'000'000});
}

void Sandbox::onMessage(const proto::ctl::StartFailed& message) {
    if (phase_ != Phase::kStarting || !start_sent_)
        return breach("the sandbox's init reported a failure out of turn");
    const auto text = oneLine(message.text);
    if (message.error == ENOENT && text.starts_with("python3"))
        return fail(
            {ErrorCode::kUnsupported,
             fmt::format("the image has no python3: {} cannot run the bootstrap", spec_.image),
             "install python3 in the image, or use runtime.language and version"},
            true);
    fail({ErrorCode::kUnavailable, "the bootstrap could not be started: " + text}, true);
}

}  // namespace aegis::sandbox
