#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/worker_pool.h"
#include "ports/sandbox.h"
#include "proto/ctl.h"
#include "sandbox/docker/cgroup.h"
#include "sandbox/docker/container_config.h"
#include "sandbox/docker/ctl_channel.h"
#include "sandbox/docker/engine.h"
#include "sandbox/docker/images.h"
#include "sandbox/docker/janitor.h"
#include "sandbox/docker/reactor.h"
#include "sandbox/docker/root_table.h"
#include "sandbox/docker/run_dir.h"

namespace aegis::sandbox {

/// What all sandboxes of a runtime share; outlives them.
struct SandboxContext {
    NodeId node;
    std::string guest_dir;
    int host_cpus = 1;
    ports::GuestListenerFactory listeners;
    Engine& engine;
    Images& images;
    RunDirs& run_dirs;
    Janitor& janitor;
    Reactor& reactor;
    os::WorkerPool& pool;
    RootTable& roots;
    /// A sandbox is over: dead, reported and handed to the janitor. On the reactor's thread.
    std::function<void(const ports::SandboxId&)> over;
};

/// One container from start to end: a state machine that lives on the reactor's thread; calls of
/// the engine run in the pool and report back. The sink hears exactly one of failed(), or up() and
/// later ended(), close() or not.
///
/// The order: image, directories and sockets, create, start; PID 1 connects (it may be before
/// /start has answered), is checked against the container, gets `start`, answers, and the sandbox
/// is up. Death is proven by the pidfd of PID 1, which ends after all other processes of its pid
/// namespace; where no pid was ever learnt, by the engine having removed the container.
///
/// Shared: held by the runtime's table, by jobs in the pool and by callbacks that may outlast it
/// there.
class Sandbox : public std::enable_shared_from_this<Sandbox> {
  public:
    using Done = std::function<void(Status)>;
    using CommandDone = std::function<void(Result<ports::CommandResult>)>;

    Sandbox(SandboxContext& context, ports::SandboxSpec spec, Deadline deadline,
            ports::SandboxSink& sink);

    void start();
    void close(Deadline deadline, Done done);
    void run(std::vector<std::string> command, Deadline deadline, CommandDone done);

    const ports::SandboxSpec& spec() const { return spec_; }
    /// Of the run directory; empty before it is made.
    std::string runName() const { return run_ ? run_->name : std::string(); }

  private:
    enum class Phase { kStarting, kUp, kEnded, kFailed };

    /// What the pool made on the way to a created container.
    struct Prepared {
        ImageInfo image;
        std::optional<RunDir> run;
        os::Fd listener;
        std::unique_ptr<ports::GuestListener> guest_listener;
        std::string container;  ///< id, or the name if the engine did not answer
        bool container_known = false;
        std::optional<Error> error;  ///< set: it went no further
        bool fatal = true;
    };
    struct Exec {
        std::vector<std::string> command;
        Deadline deadline;
        CommandDone done;
    };
    struct Closer {
        Reactor::Token timer = 0;
        Done done;
    };
    struct Autopsy {
        std::optional<ContainerState> state;
    };

    // In the pool.
    void prepare();
    Status prepareContainer(Prepared& prepared);
    Status makeContainer(Prepared& prepared);

    // On the reactor's thread.
    void submit(std::function<void()> job);
    void onPrepared(std::shared_ptr<Prepared> prepared);
    void onEngineStarted(Status status, bool tried);
    void onInspected(Result<ContainerState> state);
    void onListenerReady();
    bool isOurs(const CtlPeer& peer) const;
    void adopt(CtlPeer peer);
    void watchProcess(os::Fd pidfd, pid_t pid);
    void receiveAll();
    void onMessage(const proto::ctl::Hello& message);
    void onMessage(const proto::ctl::Started& message);
    void onMessage(const proto::ctl::StartFailed& message);
    void onMessage(const proto::ctl::Exited& message);
    void onMessage(proto::ctl::ExecDone& message);
    void onMessage(const proto::ctl::Killed& message);
    void startPayload();
    Status sendStart();
    void onProcessEnded();
    void autopsy();
    void onAutopsy(const Autopsy& result);
    void fail(Error error, bool fatal);
    void reportEnd(ports::BootstrapExit exit);
    void breach(std::string why);
    void destroy();
    void onDead();
    void nextExec();
    void finishExec(Result<ports::CommandResult> result);
    void failExecs(const Error& error);
    void answerCloser(int id, const Status& status);

    SandboxContext& context_;
    const ports::SandboxSpec spec_;
    const Deadline deadline_;
    ports::SandboxSink& sink_;
    BootTime began_;
    std::atomic<bool> abandoned_{false};  // read by the pool between its steps

    Phase phase_ = Phase::kStarting;
    bool preparing_ = true;        // the pool's job has not reported a container or an error
    bool engine_busy_ = false;     // /start has not answered
    bool engine_started_ = false;  // it has, with success
    bool start_tried_ = false;     // /start was, or may have been, sent
    bool said_hello_ = false;
    bool start_sent_ = false;
    bool dying_ = false;
    bool dead_ = false;
    bool over_ = false;
    std::string container_;
    std::optional<RunDir> run_;
    ImageInfo image_;
    std::unique_ptr<ports::GuestListener> guest_listener_;
    os::Fd listener_, connection_, pidfd_;
    pid_t pid_ = 0;
    int api_port_ = 0;
    int rejected_peers_ = 0;
    std::optional<CtlPeer> held_peer_;  // waits for the engine to tell the pid
    CaptureFile stdout_, stderr_;
    OomCounter oom_;
    std::vector<std::string> env_;
    Reactor::Token start_timer_ = 0, listener_watch_ = 0, connection_watch_ = 0, pid_watch_ = 0,
                   hangup_timer_ = 0;
    std::map<int, Closer> closers_;
    int next_closer_ = 0;
    std::deque<Exec> execs_;  // the first one runs if exec_running_
    bool exec_running_ = false;
    std::uint32_t exec_id_ = 0;
    Reactor::Token exec_timer_ = 0;
};

}  // namespace aegis::sandbox
