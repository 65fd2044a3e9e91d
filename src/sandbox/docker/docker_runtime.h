#pragma once

#include <memory>
#include <string>

#include "base/ids.h"
#include "base/random.h"
#include "ports/sandbox.h"

namespace aegis::sandbox {

class Engine;

struct DockerOptions {
    NodeId node;
    std::string docker_host = "unix:///var/run/docker.sock";
    /// Absolute; holds `init` and `bootstrap.py`, readable by everybody. Seen as /aegis/bin.
    std::string guest_dir;
    ports::GuestListenerFactory listeners;
    std::string run_base;       ///< replaces /run/aegis and its fallbacks when not empty
    std::size_t threads = 8;    ///< for calls of the engine
    std::size_t warm_size = 0;  ///< containers started ahead, of each shape; 0: none
    std::int64_t warm_max_idle_ms = 600'000;
    std::size_t warm_max_size = 0;  ///< of what a specification asks for another number of
};

/// The Runtime over Docker Engine's API on its unix socket: one fresh container per sandbox,
/// without a network, privileges or a writable root. The engine need not be there when this is
/// made. Threads: one that waits on all sandboxes, `threads` for calls of the engine, one that
/// cleans up; sinks and `done` callbacks run on the first. The destructor kills what runs (at most
/// 10 s).
///
/// Where containers are started ahead, a sandbox of a shape that was there before finds one ready.
///
/// After start(), a sandbox that is closed early still tells its sink: failed() with kCancelled, or
/// ended() with `died`, before close() reports.
class DockerRuntime final : public ports::Runtime {
  public:
    /// kNotFound when the guest's files are missing, kInvalid or kUnsupported for a bad
    /// docker_host.
    static Result<std::unique_ptr<DockerRuntime>> create(DockerOptions options, Random& random);
    ~DockerRuntime() override;

    std::string name() const override { return "docker"; }
    Status available() override;
    Result<ports::ImageFacts> checkImage(const std::string& image,
                                         const std::string& policy) override;
    void start(ports::SandboxSpec spec, Deadline deadline, ports::SandboxSink& sink) override;
    void close(const ports::SandboxId& id, Deadline deadline,
               std::function<void(Status)> done) override;
    void run(const ports::SandboxId& id, std::vector<std::string> command, Deadline deadline,
             std::function<void(Result<ports::CommandResult>)> done) override;
    Result<os::Fd> root(const ports::SandboxId& id) override;
    Status sweep(const std::set<ports::SandboxId>& keep) override;

    /// For importing images.
    Engine& engine();
    /// How many containers wait for a sandbox.
    std::size_t warmReady();

  private:
    struct Impl;
    explicit DockerRuntime(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::sandbox
