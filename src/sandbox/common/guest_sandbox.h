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
#include "sandbox/common/ctl_channel.h"
#include "sandbox/common/oom.h"
#include "sandbox/common/payload.h"
#include "sandbox/common/reactor.h"
#include "sandbox/common/root_table.h"
#include "sandbox/common/run.h"

namespace aegis::sandbox {

/// What all sandboxes of a runtime share; outlives them.
struct GuestContext {
    std::string isolation;  ///< "docker", "process"
    ports::GuestListenerFactory listeners;
    RunDirs& run_dirs;
    Reactor& reactor;
    os::WorkerPool& pool;
    RootTable& roots;
    /// A sandbox is over: dead, reported, its remains handed on. On the reactor's thread.
    std::function<void(const ports::SandboxId&)> over;
};

/// The life of one sandbox, from its first process's connection on ctl.sock to its proven death: a
/// state machine on the reactor's thread. The sink hears exactly one of failed(), or up() and later
/// ended(), close() or not. How the first process comes to be, and what is left of it, is the
/// isolation's: the derived class.
///
/// The order: the derived class makes run directory and sockets (prepareRun(), in the pool), hands
/// them to attach() on the reactor's thread, and starts PID 1, which connects, is judged, gets
/// `start`, answers, and the sandbox is up. One whose PID 1 was started ahead brings its directory
/// to prepareRun() and the connection, with nothing of it read, to adopt() instead of listen().
/// Death is proven by the pidfd of PID 1, which ends after all other processes of its pid
/// namespace.
///
/// Shared: held by the runtime's table, by jobs in the pool and by callbacks that may outlast it
/// there.
class GuestSandbox : public std::enable_shared_from_this<GuestSandbox> {
  public:
    using Done = std::function<void(Status)>;
    using CommandDone = std::function<void(Result<ports::CommandResult>)>;

    GuestSandbox(GuestContext& context, ports::SandboxSpec spec, Deadline deadline,
                 ports::SandboxSink& sink);
    virtual ~GuestSandbox() = default;
    GuestSandbox(const GuestSandbox&) = delete;
    GuestSandbox& operator=(const GuestSandbox&) = delete;

    void start();
    void close(Deadline deadline, Done done);
    void run(std::vector<std::string> command, Deadline deadline, CommandDone done);

    const ports::SandboxSpec& spec() const { return spec_; }
    /// Of the run directory; empty before it is made.
    std::string runName() const { return run_ ? run_->name : std::string(); }

  protected:
    enum class Phase { kStarting, kUp, kEnded, kFailed };
    enum class Verdict { kOurs, kUnknownYet, kForeign };

    // For the derived class to say. All but prepare() on the reactor's thread.
    /// In the pool: makes the sandbox and posts what came of it; at last calls setPrepared().
    virtual void prepare() = 0;
    /// Whether this peer is PID 1; kUnknownYet: it may be, once more is known (take heldPeer()).
    virtual Verdict judge(const CtlPeer& peer) const = 0;
    /// PID 1 said hello: to end in sendStart(), now or later.
    virtual void beforePayload();
    /// PID 1 died before its time: to end in died().
    virtual void autopsy() = 0;
    /// To be destroyed without a pidfd known: kill what there may be, then call onDead().
    virtual void destroyUnseen() = 0;
    /// Something still works on it that must end before its remains are touched.
    virtual bool busy() const = 0;
    /// It is over: whatever is left goes to whoever removes it.
    virtual void handOver(std::optional<RunDir> run,
                          std::unique_ptr<ports::GuestListener> listener) = 0;
    /// For records: the container's id, the process's number.
    virtual std::string shortName() const = 0;

    // For the derived class to use.
    template <class Derived>
    std::shared_ptr<Derived> self() {
        return std::static_pointer_cast<Derived>(shared_from_this());
    }
    /// Makes what is missing of it, for this sandbox.
    Status prepareRun(Run& run);
    void submit(std::function<void()> job);
    void attach(Run run, ImageDefaults image);
    void listen();
    void onConnection(CtlPeer peer);
    std::optional<CtlPeer> takeHeldPeer() { return std::exchange(held_peer_, std::nullopt); }
    void adopt(CtlPeer peer);
    void watchProcess(os::Fd pidfd, pid_t pid);
    Status sendStart();
    /// Death of PID 1 in an unexpected moment, explained.
    void died(std::string what, bool out_of_memory);
    void fail(Error error, bool fatal);
    void breach(std::string why);
    void destroy();
    void onDead();
    std::uint64_t oomKills() const { return oom_.kills().value_or(0); }
    void watchOom(OomCounter counter) { oom_ = std::move(counter); }

    const ports::SandboxSpec spec_;
    const Deadline deadline_;
    Phase phase_ = Phase::kStarting;
    bool preparing_ = true;  ///< the pool's job has not reported what it made, or an error
    bool said_hello_ = false;
    bool start_sent_ = false;
    bool dying_ = false;
    bool dead_ = false;
    std::atomic<bool> abandoned_{false};  ///< read by the pool between its steps
    os::Fd pidfd_;
    pid_t pid_ = 0;

  private:
    struct Exec {
        std::vector<std::string> command;
        Deadline deadline;
        CommandDone done;
    };
    struct Closer {
        Reactor::Token timer = 0;
        Done done;
    };

    void onListenerReady();
    void receiveAll();
    void onMessage(const proto::ctl::Hello& message);
    void onMessage(const proto::ctl::Started& message);
    void onMessage(const proto::ctl::StartFailed& message);
    void onMessage(const proto::ctl::Exited& message);
    void onMessage(proto::ctl::ExecDone& message);
    void onMessage(const proto::ctl::Killed& message);
    void onProcessEnded();
    void reportEnd(ports::BootstrapExit exit);
    void nextExec();
    void finishExec(Result<ports::CommandResult> result);
    void failExecs(const Error& error);
    void answerCloser(int id, const Status& status);

    GuestContext& shared_;
    ports::SandboxSink& sink_;
    BootTime began_;
    bool over_ = false;
    std::optional<RunDir> run_;
    ImageDefaults image_;
    std::unique_ptr<ports::GuestListener> guest_listener_;
    os::Fd listener_, connection_;
    int rejected_peers_ = 0;
    std::optional<CtlPeer> held_peer_;
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
