// How a sandbox comes up: the conversation with its first process.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "os/clock.h"
#include "sandbox/common/guest_sandbox.h"
#include "sandbox/common/one_line.h"

namespace aegis::sandbox {
namespace {

constexpr int kMaxRejectedPeers = 16;

}  // namespace

void GuestSandbox::start() {
    began_ = os::systemClock().boot();
    start_timer_ = shared_.reactor.at(deadline_, [self = shared_from_this()] {
        self->start_timer_ = 0;
        self->fail({ErrorCode::kTimeout, "the sandbox did not start in time"}, false);
    });
    submit([self = shared_from_this()] { self->prepare(); });
}

void GuestSandbox::submit(std::function<void()> job) {
    if (shared_.pool.submit(std::move(job))) return;
    preparing_ = false;
    fail({ErrorCode::kTooMany, "too many sandboxes are being started"}, false);
}

Status GuestSandbox::prepareRun(Run& run) {
    AEGIS_CHECK(makeRun(run, shared_.run_dirs, shared_.listeners));
    run.guest_listener->assign(spec_.id);
    return {};
}

void GuestSandbox::attach(Run run, ImageDefaults image) {
    preparing_ = false;
    run_ = std::move(run.dir);
    listener_ = std::move(run.listener);
    guest_listener_ = std::move(run.guest_listener);
    stdout_ = std::move(run.standard_output);
    stderr_ = std::move(run.standard_error);
    image_ = std::move(image);
}

void GuestSandbox::listen() {
    listener_watch_ = shared_.reactor.watch(
        listener_.get(), [self = shared_from_this()] { self->onListenerReady(); });
}

void GuestSandbox::onListenerReady() {
    auto accepted = acceptCtl(listener_.get());
    if (!accepted) return fail(std::move(accepted.error()), false);
    if (!*accepted || dead_) return;
    CtlPeer peer = std::move(**accepted);
    switch (judge(peer)) {
        case Verdict::kOurs:
            return adopt(std::move(peer));
        case Verdict::kUnknownYet:
            if (!held_peer_) {
                held_peer_ = std::move(peer);
                return;
            }
            break;
        case Verdict::kForeign:
            break;
    }
    // Nothing but PID 1 of ours runs before `start` is sent, and the listener closes when it is
    // here.
    if (++rejected_peers_ > kMaxRejectedPeers)
        fail({ErrorCode::kPermissionDenied, "the sandbox's control socket is under attack"}, false);
}

void GuestSandbox::adopt(CtlPeer peer) {
    shared_.reactor.forget(std::exchange(listener_watch_, 0));
    listener_.reset();
    ::unlink(run_->ctlSocket().c_str());
    connection_ = std::move(peer.connection);
    if (!pidfd_) watchProcess(std::move(peer.pidfd), peer.pid);
    if (dying_) return destroy();
    if (!peer.memory) {
        auto watched = watchMemory(peer.proc_cgroup);
        if (!watched) return fail(std::move(watched.error()), false);
        peer.memory = std::move(*watched);
    }
    oom_ = std::move(*peer.memory);
    connection_watch_ = shared_.reactor.watch(connection_.get(),
                                              [self = shared_from_this()] { self->receiveAll(); });
}

void GuestSandbox::watchProcess(os::Fd pidfd, pid_t pid) {
    pidfd_ = std::move(pidfd);
    pid_ = pid;
    pid_watch_ = shared_.reactor.watch(pidfd_.get(),
                                       [self = shared_from_this()] { self->onProcessEnded(); });
}

void GuestSandbox::onMessage(const proto::ctl::Hello& message) {
    if (said_hello_ || message.state != proto::ctl::State::kIdle)
        return breach("the sandbox's init said hello out of turn");
    said_hello_ = true;
    env_ = payloadEnv(spec_, image_, message.api_port, message.proxy_port);
    beforePayload();
}

void GuestSandbox::beforePayload() {
    if (auto sent = sendStart(); !sent) fail(std::move(sent.error()), true);
}

Status GuestSandbox::sendStart() {
    start_sent_ = true;
    AEGIS_TRY(const auto start, payloadStart(spec_, env_, workingDirectory(spec_, image_)));
    std::vector<int> fds{stdout_.writer.get(), stderr_.writer.get()};
    if (start.prompt) fds.push_back(start.prompt.get());
    AEGIS_CHECK(sendCtl(connection_.get(), start.message, fds));
    stdout_.writer.reset();
    stderr_.writer.reset();
    return {};
}

void GuestSandbox::onMessage(const proto::ctl::Started&) {
    if (phase_ != Phase::kStarting || !start_sent_ || stdout_.writer)
        return breach("the sandbox's init reported a start out of turn");
    shared_.reactor.forget(std::exchange(start_timer_, 0));
    phase_ = Phase::kUp;
    shared_.roots.add(spec_.id, pid_, pidfd_);
    const auto took_ns = os::systemClock().boot().ns - began_.ns;
    sink_.up(spec_.id, {shared_.isolation, shortName(), took_ns / 1'000'000});
}

void GuestSandbox::onMessage(const proto::ctl::StartFailed& message) {
    if (phase_ != Phase::kStarting || !start_sent_)
        return breach("the sandbox's init reported a failure out of turn");
    const auto text = oneLine(message.text);
    if (message.error == ENOENT && text.starts_with("python3"))
        return fail(
            {ErrorCode::kUnsupported,
             fmt::format("the image has no python3: {} cannot run the bootstrap", spec_.image),
             "install python3 in the image, or use runtime.language and version"},
            true);
    const bool no_shell = message.error == ENOENT && !spec_.startup_script.empty();
    fail({ErrorCode::kUnavailable, no_shell ? "the image has no /bin/sh for the startup script"
                                            : "the bootstrap could not be started: " + text},
         true);
}

}  // namespace aegis::sandbox
