// How a sandbox works and ends. Its start is in guest_start.cpp.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "os/clock.h"
#include "sandbox/common/guest_sandbox.h"
#include "sandbox/common/one_line.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kHangupMs = 1'000;
constexpr std::int64_t kExecGraceMs = 3'000;
constexpr std::int64_t kLongestExecMs = 24LL * 3600 * 1000;
constexpr int kMessagesAtOnce = 16;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

}  // namespace

GuestSandbox::GuestSandbox(GuestContext& context, ports::SandboxSpec spec, Deadline deadline,
                           ports::SandboxSink& sink)
    : spec_(std::move(spec)), deadline_(deadline), shared_(context), sink_(sink) {}

void GuestSandbox::receiveAll() {
    for (int i = 0; i < kMessagesAtOnce && connection_ && !dying_; ++i) {
        auto message = receiveCtl(connection_.get());
        if (!message) {
            if (message.error().code != ErrorCode::kIo) return breach(message.error().message);
            // The connection ends just before PID 1 does, which the pidfd tells. A PID 1 that goes
            // on without it is broken.
            shared_.reactor.forget(std::exchange(connection_watch_, 0));
            connection_.reset();
            hangup_timer_ = shared_.reactor.at(
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

void GuestSandbox::onMessage(const proto::ctl::Exited& message) {
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

void GuestSandbox::onMessage(const proto::ctl::Killed&) {
    breach("the sandbox's init answered what was not asked");
}

void GuestSandbox::reportEnd(ports::BootstrapExit exit) {
    phase_ = Phase::kEnded;
    exit.standard_output = readCapture(stdout_.reader, kCaptureCap);
    exit.standard_error = readCapture(stderr_.reader, kCaptureCap);
    exit.startup_failed = tookStartupFailure(spec_, exit);
    exit.stdout_bytes = std::max<std::uint64_t>(exit.stdout_bytes, exit.standard_output.size());
    exit.stderr_bytes = std::max<std::uint64_t>(exit.stderr_bytes, exit.standard_error.size());
    sink_.ended(spec_.id, std::move(exit));
}

// ---- commands after the end ----

void GuestSandbox::run(std::vector<std::string> command, Deadline deadline, CommandDone done) {
    if (phase_ != Phase::kEnded || dying_ || dead_ || !connection_)
        return done(Error(ErrorCode::kConflict, "the sandbox cannot run a command now"));
    execs_.push_back({std::move(command), deadline, std::move(done)});
    nextExec();
}

void GuestSandbox::nextExec() {
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
    exec_timer_ = shared_.reactor.at(inMs(timeout_ms + kExecGraceMs), [self = shared_from_this()] {
        self->exec_timer_ = 0;
        self->breach("the sandbox's init does not answer");
    });
}

void GuestSandbox::onMessage(proto::ctl::ExecDone& message) {
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

void GuestSandbox::finishExec(Result<ports::CommandResult> result) {
    shared_.reactor.forget(std::exchange(exec_timer_, 0));
    exec_running_ = false;
    auto done = std::move(execs_.front().done);
    execs_.pop_front();
    done(std::move(result));
    nextExec();
}

void GuestSandbox::failExecs(const Error& error) {
    shared_.reactor.forget(std::exchange(exec_timer_, 0));
    exec_running_ = false;
    while (!execs_.empty()) {
        auto done = std::move(execs_.front().done);
        execs_.pop_front();
        done(Error(error));
    }
}

// ---- ends ----

void GuestSandbox::fail(Error error, bool fatal) {
    if (dying_) return;
    if (phase_ == Phase::kStarting) {
        phase_ = Phase::kFailed;
        sink_.failed(spec_.id, std::move(error), fatal);
    } else if (phase_ == Phase::kUp) {
        reportEnd({.died = std::move(error.message)});
    }
    destroy();
}

void GuestSandbox::breach(std::string why) {
    fail({ErrorCode::kUnavailable, std::move(why)}, false);
}

void GuestSandbox::close(Deadline deadline, Done done) {
    const int closer = next_closer_++;
    // The death is waited for beyond that, but nobody is kept waiting.
    const auto timer = shared_.reactor.at(deadline, [self = shared_from_this(), closer] {
        self->answerCloser(closer, Error(ErrorCode::kTimeout, "the sandbox's death is not proven"));
    });
    closers_.emplace(closer, Closer{timer, std::move(done)});
    if (!dying_) return fail({ErrorCode::kCancelled, "the sandbox was closed"}, false);
    if (dead_) answerCloser(closer, {});
}

void GuestSandbox::destroy() {
    dying_ = true;
    abandoned_ = true;
    shared_.reactor.forget(std::exchange(start_timer_, 0));
    // Nothing is read from now on: what stays readable would keep the reactor busy until the death.
    shared_.reactor.forget(std::exchange(connection_watch_, 0));
    shared_.roots.remove(spec_.id);
    failExecs({ErrorCode::kCancelled, "the sandbox was closed"});
    if (dead_) return onDead();
    if (!pidfd_) return destroyUnseen();
    if (hasEnded(pidfd_)) return onDead();
    // Its pidfd tells the end.
    if (auto killed = killProcess(pidfd_); !killed)
        log(LogLevel::kError, "a sandbox cannot be killed",
            {{"sandbox", shortName()}, {"error", killed.error().message}});
}

void GuestSandbox::onProcessEnded() {
    receiveAll();  // what it said before it died
    shared_.reactor.forget(std::exchange(pid_watch_, 0));
    shared_.roots.remove(spec_.id);
    dead_ = true;
    if (dying_) return onDead();
    if (phase_ == Phase::kStarting || phase_ == Phase::kUp) return autopsy();
    failExecs({ErrorCode::kUnavailable, "the sandbox died"});
    destroy();
}

void GuestSandbox::died(std::string what, bool out_of_memory) {
    if (dying_) return;
    if (phase_ == Phase::kUp) {
        reportEnd({.out_of_memory = out_of_memory, .died = std::move(what)});
        return destroy();
    }
    fail({ErrorCode::kUnavailable, what + " before it was ready"}, false);
}

void GuestSandbox::onDead() {
    dead_ = true;
    while (!closers_.empty())
        answerCloser(closers_.begin()->first, {});
    if (preparing_ || busy() || std::exchange(over_, true)) return;
    for (auto* token : {&listener_watch_, &connection_watch_, &pid_watch_, &hangup_timer_})
        shared_.reactor.forget(std::exchange(*token, 0));
    connection_.reset();
    listener_.reset();
    handOver(std::exchange(run_, std::nullopt), std::move(guest_listener_));
    shared_.over(spec_.id);
}

void GuestSandbox::answerCloser(int id, const Status& status) {
    auto node = closers_.extract(id);
    if (node.empty()) return;
    shared_.reactor.forget(node.mapped().timer);
    node.mapped().done(status);
}

}  // namespace aegis::sandbox
