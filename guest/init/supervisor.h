#pragma once

#include <sys/types.h>

#include <cstdint>

#include "capture.h"
#include "control.h"
#include "relay.h"
#include "spawn.h"

namespace aegis::init {

/// The whole of PID 1: one thread, one loop. Starts what the daemon says, drains its output, reaps
/// whatever dies in the sandbox, relays connections. Nothing that the payload does (floods of
/// zombies, of output, of connections) makes it use more than its fixed memory.
class Supervisor {
  public:
    /// `run_dir` holds the daemon's sockets and must outlive this.
    bool init(const char* run_dir);
    /// A child that waits for its job already, with the read ends of its output pipes; from before
    /// this program took its process over.
    void adopt(pid_t pid, int job, int out, int err);
    /// Until shutdown or, with nothing running, SIGTERM. Returns the exit code.
    int run();

  private:
    /// A child that the daemon asked for.
    struct Child {
        pid_t pid = -1;
        int wait_status = 0;
        bool reaped = false;
    };

    void dispatch(std::uint64_t tag);
    std::int64_t tick();
    void signalled();
    void reap();
    void settle();

    void handleMessages();
    void handle(Received& message);
    void startPayload(proto::ctl::WireReader& in, Received& message);
    pid_t giveJob(Received& message, bool has_stdin, std::uint64_t stdout_cap,
                  std::uint64_t stderr_cap);
    void prepare(proto::ctl::WireReader& in);
    void forgetWaiting();
    void startExec(proto::ctl::WireReader& in);
    void killEverything();
    bool noteDeath(pid_t pid, int wait_status);
    void abandonExec();

    void started();
    void sendHello();
    void sendEmpty(proto::ctl::Type type);
    void sendFailed(proto::ctl::Type type, std::uint32_t id, int error, const char* text);
    void sendExited();
    void sendExecDone();

    int epoll_ = -1;
    int signals_ = -1;
    int null_ = -1;
    bool stop_ = false;
    bool reap_again_ = false;

    proto::ctl::State state_ = proto::ctl::State::kIdle;
    Child payload_;
    Child waiting_;
    int waiting_job_ = -1;
    Child exec_;
    bool exec_active_ = false;
    bool exec_timed_out_ = false;
    std::uint32_t exec_id_ = 0;
    std::int64_t exec_deadline_ = INT64_MAX;
    std::uint16_t api_port_ = 0;
    std::uint16_t proxy_port_ = 0;

    Control control_;
    Relay relay_;
    Arguments arguments_;
    Capture captures_[2];
    std::uint64_t stdout_total_ = 0;
    std::uint64_t stderr_total_ = 0;
    bool truncated_ = false;
};

}  // namespace aegis::init
