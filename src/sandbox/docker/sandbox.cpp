// How a sandbox works and ends. Its start is in sandbox_start.cpp.
#include "sandbox/docker/sandbox.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "os/clock.h"
#include "sandbox/docker/engine_answers.h"

namespace aegis::sandbox {
namespace {

constexpr std::size_t kCaptureCap = 1 << 20;
constexpr std::int64_t kAutopsyMs = 3'000;
constexpr std::int64_t kHangupMs = 1'000;
constexpr std::int64_t kExecGraceMs = 3'000;
constexpr std::int64_t kLongestExecMs = 24LL * 3600 * 1000;
constexpr int kMessagesAtOnce = 16;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

}  // namespace

Sandbox::Sandbox(SandboxContext& context, ports::SandboxSpec spec, Deadline deadline,
                 ports::SandboxSink& sink)
    : context_(context), spec_(std::move(spec)), deadline_(deadline), sink_(sink) {}

void Sandbox::receiveAll() {
    for (int i = 0; i < kMessagesAtOnce && connection_ && !dying_; ++i) {
        auto message = receiveCtl(connection_.get());
        if (!message) {
            if (message.error().code != ErrorCode::kIo) return breach(message.error().message);
            // The connection ends just before PID 1 does, which the pidfd tells. A PID 1 that goes
            // on without it is broken.
            context_.reactor.forget(std::exchange(connection_watch_, 0));
            connection_.reset();
            hangup_timer_ = context_.reactor.at(
                inMs(kHangupMs), [self = shared_from_this(), why = message.error().message] {
                    self->hangup_timer_ = 0;
                    self->breach(why);
                });
            return;
        }
        if (!*message) return;
        std::visit([this](auto& m) { onMessage(m); }, **message);
    }
}

void Sandbox::onMessage(const proto::ctl::Exited& message) {
    if (phase_ != Phase::kUp) return breach("the sandbox's init reported an end out of turn");
    ports::BootstrapExit exit;
    const auto kills = oom_.kills();  // first: nothing later may hide it
    exit.out_of_memory = kills.value_or(0) > 0;
    if (message.exit_code >= 0) exit.exit_code = message.exit_code;
    exit.signal = message.signal;
    exit.stdout_bytes = message.stdout_bytes;
    exit.stderr_bytes = message.stderr_bytes;
    reportEnd(std::move(exit));
}

void Sandbox::onMessage(const proto::ctl::Killed&) {
    breach("the sandbox's init answered what was not asked");
}

void Sandbox::reportEnd(ports::BootstrapExit exit) {
    phase_ = Phase::kEnded;
    exit.standard_output = readCapture(stdout_.reader, kCaptureCap);
    exit.standard_error = readCapture(stderr_.reader, kCaptureCap);
    exit.stdout_bytes = std::max<std::uint64_t>(exit.stdout_bytes, exit.standard_output.size());
    exit.stderr_bytes = std::max<std::uint64_t>(exit.stderr_bytes, exit.standard_error.size());
    sink_.ended(spec_.id, std::move(exit));
}

// ---- commands after the end ----

void Sandbox::run(std::vector<std::string> command, Deadline deadline, CommandDone done) {
    if (phase_ != Phase::kEnded || dying_ || dead_ || !connection_)
        return done(Error(ErrorCode::kConflict, "the sandbox cannot run a command now"));
    execs_.push_back({std::move(command), deadline, std::move(done)});
    nextExec();
}

void Sandbox::nextExec() {
    if (exec_running_ || execs_.empty() || !connection_) return;
    const auto left = execs_.front().deadline.leftMs(os::systemClock().boot());
    exec_running_ = true;
    if (left == 0) return finishExec(ports::CommandResult{.timed_out = true});
    const auto timeout_ms = std::min(left, kLongestExecMs);
    proto::ctl::Exec exec;
    exec.id = ++exec_id_;
    exec.command = {execs_.front().command, env_, workingDirectory(spec_, image_)};
    exec.timeout_ms = static_cast<std::uint32_t>(timeout_ms);
    exec.output_limit = proto::ctl::kMaxExecOutputBytes;
    auto message = proto::ctl::encode(proto::ctl::HostMessage(std::move(exec)));
    if (!message) return finishExec(std::move(message.error()));
    if (auto sent = sendCtl(connection_.get(), *message); !sent)
        return breach(sent.error().message);
    exec_timer_ = context_.reactor.at(inMs(timeout_ms + kExecGraceMs), [self = shared_from_this()] {
        self->exec_timer_ = 0;
        self->breach("the sandbox's init does not answer");
    });
}

void Sandbox::onMessage(proto::ctl::ExecDone& message) {
    if (!exec_running_ || message.id != exec_id_)
        return breach("the sandbox's init answered what was not asked");
    ports::CommandResult result;
    result.timed_out = message.timed_out;
    result.standard_output = std::move(message.stdout_tail);
    result.standard_error = std::move(message.stderr_tail);
    result.exit_code = message.exit_code;
    // As a shell reports them.
    if (message.exit_code < 0 && message.signal > 0 && !message.timed_out)
        result.exit_code = 128 + message.signal;
    if (message.error != 0) {
        result.exit_code = message.error == ENOENT ? 127 : 126;
        result.standard_error = oneLine(message.text);
    }
    finishExec(std::move(result));
}

void Sandbox::finishExec(Result<ports::CommandResult> result) {
    context_.reactor.forget(std::exchange(exec_timer_, 0));
    exec_running_ = false;
    auto done = std::move(execs_.front().done);
    execs_.pop_front();
    done(std::move(result));
    nextExec();
}

void Sandbox::failExecs(const Error& error) {
    context_.reactor.forget(std::exchange(exec_timer_, 0));
    exec_running_ = false;
    while (!execs_.empty()) {
        auto done = std::move(execs_.front().done);
        execs_.pop_front();
        done(Error(error));
    }
}

// ---- ends ----

void Sandbox::fail(Error error, bool fatal) {
    if (dying_) return;
    if (phase_ == Phase::kStarting) {
        phase_ = Phase::kFailed;
        sink_.failed(spec_.id, std::move(error), fatal);
    } else if (phase_ == Phase::kUp) {
        reportEnd({.died = std::move(error.message)});
    }
    destroy();
}

void Sandbox::breach(std::string why) { fail({ErrorCode::kUnavailable, std::move(why)}, false); }

void Sandbox::close(Deadline deadline, Done done) {
    const int closer = next_closer_++;
    // The death is waited for beyond that, but nobody is kept waiting.
    const auto timer = context_.reactor.at(deadline, [self = shared_from_this(), closer] {
        self->answerCloser(closer, Error(ErrorCode::kTimeout, "the sandbox's death is not proven"));
    });
    closers_.emplace(closer, Closer{timer, std::move(done)});
    if (!dying_) return fail({ErrorCode::kCancelled, "the sandbox was closed"}, false);
    if (dead_) answerCloser(closer, {});
}

void Sandbox::destroy() {
    dying_ = true;
    abandoned_ = true;
    context_.reactor.forget(std::exchange(start_timer_, 0));
    context_.roots.remove(spec_.id);
    failExecs({ErrorCode::kCancelled, "the sandbox was closed"});
    if (dead_) return onDead();
    if (pidfd_) {
        if (hasEnded(pidfd_)) return onDead();
        if (auto killed = killProcess(pidfd_); !killed)
            log(LogLevel::kError, "a sandbox cannot be killed",
                {{"container", container_}, {"error", killed.error().message}});
        return;  // its pidfd tells the end
    }
    if (preparing_ || engine_busy_) return;  // comes back with what there is to kill
    if (container_.empty() || !start_tried_) return onDead();
    // The engine may have started it and could not say so: gone when the engine has removed it.
    start_tried_ = false;
    Remains remains;
    remains.container = container_;
    remains.removed = [self = shared_from_this()] {
        self->context_.reactor.post([self] {
            self->container_.clear();
            self->onDead();
        });
    };
    context_.janitor.take(std::move(remains));
}

void Sandbox::onProcessEnded() {
    receiveAll();  // what it said before it died
    context_.reactor.forget(std::exchange(pid_watch_, 0));
    context_.roots.remove(spec_.id);
    dead_ = true;
    if (dying_) return onDead();
    if (phase_ == Phase::kStarting || phase_ == Phase::kUp) return autopsy();
    failExecs({ErrorCode::kUnavailable, "the sandbox died"});
    destroy();
}

void Sandbox::autopsy() {
    // Asking before /start has answered can hang the engine; onEngineStarted() comes back here.
    if (engine_busy_) return;
    const auto id = container_;
    submit([self = shared_from_this(), id] {
        Autopsy result;
        const auto deadline = inMs(kAutopsyMs);
        auto waited = self->context_.engine.waitContainer(id, deadline);
        if (auto state = self->context_.engine.inspectContainer(id, deadline);
            waited && state && !state->running)
            result.state = *state;
        self->context_.reactor.post([self, result] { self->onAutopsy(result); });
    });
}

void Sandbox::onAutopsy(const Autopsy& result) {
    if (dying_) return;
    const bool out_of_memory =
        oom_.kills().value_or(0) > 0 || (result.state && result.state->out_of_memory);
    std::string how;
    if (result.state) how = fmt::format("exit code {}", result.state->exit_code);
    if (out_of_memory) how += how.empty() ? "out of memory" : ", out of memory";
    const std::string what =
        how.empty() ? "the container died" : fmt::format("the container died ({})", how);
    if (phase_ == Phase::kUp) {
        reportEnd({.out_of_memory = out_of_memory, .died = what});
        return destroy();
    }
    fail({ErrorCode::kUnavailable, what + " before it was ready"}, false);
}

void Sandbox::onDead() {
    dead_ = true;
    while (!closers_.empty())
        answerCloser(closers_.begin()->first, {});
    // The engine must not be asked to remove what it is still making or starting.
    if (engine_busy_ || preparing_ || std::exchange(over_, true)) return;
    for (auto* token : {&listener_watch_, &connection_watch_, &pid_watch_, &hangup_timer_})
        context_.reactor.forget(std::exchange(*token, 0));
    connection_.reset();
    listener_.reset();
    Remains remains;
    remains.container = std::exchange(container_, {});
    remains.run = std::exchange(run_, std::nullopt);
    remains.listener = std::move(guest_listener_);
    context_.janitor.take(std::move(remains));
    context_.over(spec_.id);
}

void Sandbox::answerCloser(int id, const Status& status) {
    auto node = closers_.extract(id);
    if (node.empty()) return;
    context_.reactor.forget(node.mapped().timer);
    node.mapped().done(status);
}

}  // namespace aegis::sandbox
