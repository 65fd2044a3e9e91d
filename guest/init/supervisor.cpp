#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

#include "sys.h"

namespace aegis::init {

namespace ctl = proto::ctl;

namespace {

constexpr int kReapsAtOnce = 1024;
constexpr int kEventsAtOnce = 32;

char g_out[ctl::kMaxMessageBytes];
char g_tail[ctl::kMaxExecOutputBytes];

ctl::WireWriter begin(ctl::Type type) {
    ctl::WireWriter out(g_out, sizeof g_out);
    out.integer(ctl::kVersion);
    out.integer(static_cast<std::uint8_t>(type));
    return out;
}

// The fields of ctl::Command. False when malformed or too long.
bool readCommand(ctl::WireReader& in, Arguments& arguments) {
    arguments.clear();
    const auto args = in.integer<std::uint32_t>();
    if (args == 0 || args > ctl::kMaxArgs) return false;
    for (std::uint32_t i = 0; i < args && in.ok(); ++i)
        if (!arguments.addArgument(in.string(ctl::kMaxArgvBytes))) return false;
    const auto variables = in.integer<std::uint32_t>();
    if (variables > ctl::kMaxEnv) return false;
    for (std::uint32_t i = 0; i < variables && in.ok(); ++i)
        if (!arguments.addVariable(in.string(ctl::kMaxMessageBytes))) return false;
    return arguments.setDirectory(in.string(4096)) && in.ok();
}

int exitCode(int wait_status) { return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1; }
int exitSignal(int wait_status) { return WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0; }

}  // namespace

bool Supervisor::init(const char* run_dir) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    sigset_t handled;
    sigemptyset(&handled);
    for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP})
        sigaddset(&handled, number);
    sigprocmask(SIG_BLOCK, &handled, nullptr);
    signal(SIGPIPE, SIG_IGN);
    signals_ = signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
    null_ = open("/dev/null", O_RDWR | O_CLOEXEC);
    std::uint32_t watched = 0;
    if (epoll_ < 0 || signals_ < 0 || null_ < 0 ||
        !watch(epoll_, signals_, Source::kSignal, 0, EPOLLIN, &watched))
        return false;
    control_.init(epoll_, run_dir);
    relay_.init(epoll_, run_dir);
    captures_[0].init(epoll_, 0);
    captures_[1].init(epoll_, 1);
    raiseLoopback();
    api_port_ = relay_.open("api.sock", ctl::kApiPort);
    proxy_port_ = relay_.open("proxy.sock", ctl::kProxyPort);
    return true;
}

int Supervisor::run() {
    epoll_event events[kEventsAtOnce];
    while (!stop_) {
        const std::int64_t next = tick();
        int timeout = -1;
        if (reap_again_) {
            timeout = 0;
        } else if (next != INT64_MAX) {
            const std::int64_t left = next - nowMs();
            timeout = left <= 0 ? 0 : left > 60'000 ? 60'000 : static_cast<int>(left);
        }
        const int count = epoll_wait(epoll_, events, kEventsAtOnce, timeout);
        for (int i = 0; i < count && !stop_; ++i)
            dispatch(events[i].data.u64);
        if (reap_again_) reap();
        settle();
    }
    return 0;
}

void Supervisor::dispatch(std::uint64_t tag) {
    const auto index = static_cast<std::uint32_t>(tag);
    switch (static_cast<Source>(tag >> 32)) {
        case Source::kSignal:
            signalled();
            break;
        case Source::kControl:
            handleMessages();
            break;
        case Source::kCapture:
            captures_[index & 1].ready();
            break;
        case Source::kListener:
            relay_.acceptReady(index);
            break;
        case Source::kRelay:
            relay_.connectionReady(index);
            break;
    }
}

// What is due by time; returns when the next such thing is.
std::int64_t Supervisor::tick() {
    const std::int64_t now = nowMs();
    if (control_.tick(now)) {
        sendHello();
        if (state_ == ctl::State::kEnded) sendExited();
    }
    if (exec_active_ && now >= exec_deadline_ && !exec_timed_out_) {
        exec_timed_out_ = true;
        killEverything();
        settle();
    }
    std::int64_t next = relay_.tick(now);
    if (control_.nextTry() < next) next = control_.nextTry();
    if (exec_active_ && exec_deadline_ < next) next = exec_deadline_;
    return next;
}

void Supervisor::signalled() {
    signalfd_siginfo info;
    while (read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        if (info.ssi_signo == SIGCHLD) continue;
        if (state_ == ctl::State::kRunning && !payload_.reaped)
            kill(-payload_.pid, static_cast<int>(info.ssi_signo));
        else if (info.ssi_signo == SIGTERM)
            stop_ = true;
    }
    reap();
}

void Supervisor::reap() {
    reap_again_ = false;
    for (int i = 0; i < kReapsAtOnce; ++i) {
        int wait_status;
        const pid_t pid = waitpid(-1, &wait_status, WNOHANG);
        if (pid <= 0) return;
        noteDeath(pid, wait_status);
    }
    // A flood of zombies must not keep the loop from its other work.
    reap_again_ = true;
}

bool Supervisor::noteDeath(pid_t pid, int wait_status) {
    for (Child* child : {&payload_, &waiting_, &exec_}) {
        if (child->reaped || child->pid != pid) continue;
        child->wait_status = wait_status;
        child->reaped = true;
        return true;
    }
    return false;
}

// Reports a payload or a command that has ended, once nothing else lives in the sandbox.
void Supervisor::settle() {
    if (state_ == ctl::State::kRunning && payload_.reaped) {
        killEverything();
        for (Capture& capture : captures_)
            capture.drain();
        stdout_total_ = captures_[0].total();
        stderr_total_ = captures_[1].total();
        truncated_ = captures_[0].truncated() || captures_[1].truncated();
        for (Capture& capture : captures_)
            capture.close();
        relay_.closeAll();
        state_ = ctl::State::kEnded;
        sendExited();
    }
    if (exec_active_ && exec_.reaped) {
        killEverything();
        for (Capture& capture : captures_)
            capture.drain();
        sendExecDone();
        abandonExec();
    }
}

void Supervisor::abandonExec() {
    for (Capture& capture : captures_)
        capture.close();
    relay_.closeAll();
    exec_active_ = false;
    exec_deadline_ = INT64_MAX;
}

// main() has made sure that this is the PID 1 of a namespace: kill(-1) reaches the sandbox, and no
// more.
void Supervisor::killEverything() {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (true) {
        kill(-1, SIGKILL);
        int wait_status;
        pid_t pid;
        while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
            noteDeath(pid, wait_status);
        if (pid < 0 && errno == ECHILD) return;
        // Dying takes its time: wait for the next death, then look again.
        const timespec pause{0, 5'000'000};
        sigtimedwait(&child, nullptr, &pause);
    }
}

void Supervisor::handleMessages() {
    Received message;
    while (!stop_ && control_.receive(message)) {
        handle(message);
        Control::closeFds(message);
    }
    if (!control_.connected() && exec_active_) {
        // Nobody is left to hear of it.
        killEverything();
        abandonExec();
    }
}

void Supervisor::handle(Received& message) {
    ctl::WireReader in(message.bytes);
    const auto version = in.integer<std::uint8_t>();
    const auto type = static_cast<ctl::Type>(in.integer<std::uint8_t>());
    if (!in.ok() || version != ctl::kVersion) {
        control_.drop();
        return;
    }
    switch (type) {
        case ctl::Type::kStart:
            startPayload(in, message);
            break;
        case ctl::Type::kPrepare:
            prepare(in);
            break;
        case ctl::Type::kExec:
            startExec(in);
            break;
        case ctl::Type::kKillAll:
            killEverything();
            settle();
            sendEmpty(ctl::Type::kKilled);
            break;
        case ctl::Type::kShutdown:
            killEverything();
            stop_ = true;
            break;
        default:
            control_.drop();
    }
}

void Supervisor::startPayload(ctl::WireReader& in, Received& message) {
    const bool readable = readCommand(in, arguments_);
    const bool has_stdin = in.integer<std::uint8_t>() == 1;
    const bool to_waiting = in.integer<std::uint8_t>() == 1;
    const auto stdout_cap = in.integer<std::uint64_t>();
    const auto stderr_cap = in.integer<std::uint64_t>();
    if (!readable || !in.done() || message.fd_count != (has_stdin ? 3 : 2)) {
        sendFailed(ctl::Type::kStartFailed, 0, EINVAL, "malformed start message");
        return;
    }
    if (state_ != ctl::State::kIdle || exec_active_) {
        sendFailed(ctl::Type::kStartFailed, 0, EALREADY, "already started");
        return;
    }
    if (to_waiting) payload_.pid = giveJob(message, has_stdin, stdout_cap, stderr_cap);
    if (payload_.pid > 0) {
        started();
        return;
    }
    Stdio stdio{has_stdin ? message.fds[2] : null_, -1, -1};
    stdio.out = captures_[0].openToFile(message.fds[0], stdout_cap);
    stdio.err = captures_[1].openToFile(message.fds[1], stderr_cap);
    message.fds[0] = message.fds[1] = -1;
    int error = EMFILE;
    char text[ctl::kMaxErrorBytes] = "pipes for the output";
    if (stdio.out >= 0 && stdio.err >= 0)
        payload_.pid = spawn(arguments_, stdio, &error, text, sizeof text);
    closeFd(&stdio.out);
    closeFd(&stdio.err);
    if (payload_.pid < 0) {
        for (Capture& capture : captures_)
            capture.close();
        sendFailed(ctl::Type::kStartFailed, 0, error, text);
        return;
    }
    started();
}

void Supervisor::started() {
    payload_.reaped = false;
    state_ = ctl::State::kRunning;
    ctl::WireWriter out = begin(ctl::Type::kStarted);
    out.integer(static_cast<std::uint32_t>(payload_.pid));
    control_.send(g_out, out.size());
}

// Hands the start's command to the payload that waits. Its pid; -1 if a fresh one must be started.
pid_t Supervisor::giveJob(Received& message, bool has_stdin, std::uint64_t stdout_cap,
                          std::uint64_t stderr_cap) {
    std::size_t size = 0;
    // The directory here, so that one that is not there is told as for a fresh payload.
    if (waiting_.pid < 0 || waiting_.reaped || chdir(arguments_.directory()) != 0 ||
        chdir("/") != 0 || !arguments_.writeJob(g_out, sizeof g_out, &size) ||
        !sendWithFd(waiting_job_, g_out, size, has_stdin ? message.fds[2] : -1)) {
        forgetWaiting();
        return -1;
    }
    // From here on the job is taken: what fails costs output, not a second run.
    (void)captures_[0].drainToFile(message.fds[0], stdout_cap);
    (void)captures_[1].drainToFile(message.fds[1], stderr_cap);
    message.fds[0] = message.fds[1] = -1;
    closeFd(&waiting_job_);
    const pid_t pid = waiting_.pid;
    waiting_ = {};
    return pid;
}

// A payload that has everything but its job. Failures show when there is one.
void Supervisor::prepare(ctl::WireReader& in) {
    const bool readable = readCommand(in, arguments_);
    if (!readable || !in.done() || state_ != ctl::State::kIdle || exec_active_ || waiting_.pid > 0)
        return;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
    waiting_job_ = ends[0];
    Stdio stdio{null_, captures_[0].openUnread(), captures_[1].openUnread(), ends[1]};
    int error;
    char text[ctl::kMaxErrorBytes];
    waiting_.pid =
        stdio.out < 0 || stdio.err < 0 ? -1 : spawn(arguments_, stdio, &error, text, sizeof text);
    waiting_.reaped = false;
    closeFd(&stdio.out);
    closeFd(&stdio.err);
    closeFd(&ends[1]);
    if (waiting_.pid < 0) forgetWaiting();
}

void Supervisor::adopt(pid_t pid, int job, int out, int err) {
    waiting_.pid = pid;
    waiting_job_ = job;
    fcntl(job, F_SETFD, FD_CLOEXEC);
    captures_[0].adoptUnread(out);
    captures_[1].adoptUnread(err);
}

void Supervisor::forgetWaiting() {
    if (waiting_.pid > 0 && !waiting_.reaped) kill(waiting_.pid, SIGKILL);
    waiting_ = {};
    closeFd(&waiting_job_);
    for (Capture& capture : captures_)
        capture.close();
}

void Supervisor::startExec(ctl::WireReader& in) {
    const auto id = in.integer<std::uint32_t>();
    if (state_ == ctl::State::kRunning || exec_active_) {
        sendFailed(ctl::Type::kExecDone, id, EBUSY, "another command is running");
        return;
    }
    const bool readable = readCommand(in, arguments_);
    const auto timeout_ms = in.integer<std::uint32_t>();
    const auto limit = in.integer<std::uint32_t>();
    if (!readable || !in.done() || limit > ctl::kMaxExecOutputBytes) {
        sendFailed(ctl::Type::kExecDone, id, EINVAL, "malformed exec message");
        return;
    }
    Stdio stdio{null_, captures_[0].openToTail(limit), captures_[1].openToTail(limit)};
    int error = EMFILE;
    char text[ctl::kMaxErrorBytes] = "pipes for the output";
    exec_.pid = -1;
    if (stdio.out >= 0 && stdio.err >= 0)
        exec_.pid = spawn(arguments_, stdio, &error, text, sizeof text);
    closeFd(&stdio.out);
    closeFd(&stdio.err);
    if (exec_.pid < 0) {
        abandonExec();
        sendFailed(ctl::Type::kExecDone, id, error, text);
        return;
    }
    exec_.reaped = false;
    exec_active_ = true;
    exec_timed_out_ = false;
    exec_id_ = id;
    exec_deadline_ = nowMs() + timeout_ms;
}

void Supervisor::sendHello() {
    ctl::WireWriter out = begin(ctl::Type::kHello);
    out.integer(static_cast<std::uint8_t>(state_));
    out.integer(static_cast<std::uint32_t>(getpid()));
    out.integer(api_port_);
    out.integer(proxy_port_);
    control_.send(g_out, out.size());
}

void Supervisor::sendEmpty(ctl::Type type) {
    const ctl::WireWriter out = begin(type);
    control_.send(g_out, out.size());
}

// start_failed, or exec_done of a command that never ran.
void Supervisor::sendFailed(ctl::Type type, std::uint32_t id, int error, const char* text) {
    ctl::WireWriter out = begin(type);
    if (type == ctl::Type::kExecDone) {
        out.integer(id);
        out.integer(std::int32_t{-1});
        out.integer(std::int32_t{0});
        out.integer(std::uint8_t{0});
    }
    out.integer(static_cast<std::int32_t>(error));
    out.string(text, strlen(text));
    if (type == ctl::Type::kExecDone) {
        out.integer(std::uint64_t{0});
        out.integer(std::uint64_t{0});
        out.string("", 0);
        out.string("", 0);
    }
    control_.send(g_out, out.size());
}

void Supervisor::sendExited() {
    ctl::WireWriter out = begin(ctl::Type::kExited);
    out.integer(static_cast<std::int32_t>(exitCode(payload_.wait_status)));
    out.integer(static_cast<std::int32_t>(exitSignal(payload_.wait_status)));
    out.integer(stdout_total_);
    out.integer(stderr_total_);
    out.integer(static_cast<std::uint8_t>(truncated_));
    control_.send(g_out, out.size());
}

void Supervisor::sendExecDone() {
    ctl::WireWriter out = begin(ctl::Type::kExecDone);
    out.integer(exec_id_);
    out.integer(static_cast<std::int32_t>(exitCode(exec_.wait_status)));
    out.integer(static_cast<std::int32_t>(exitSignal(exec_.wait_status)));
    out.integer(static_cast<std::uint8_t>(exec_timed_out_));
    out.integer(std::int32_t{0});
    out.string("", 0);
    out.integer(captures_[0].total());
    out.integer(captures_[1].total());
    for (const Capture& capture : captures_) {
        const std::size_t size = capture.tail(g_tail);
        out.string(g_tail, size);
    }
    control_.send(g_out, out.size());
}

}  // namespace aegis::init
