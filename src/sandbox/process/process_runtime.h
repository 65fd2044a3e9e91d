#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "ports/root_images.h"
#include "ports/sandbox.h"
#include "sandbox/process/stem_pool.h"

namespace aegis::sandbox {

struct ProcessOptions {
    NodeId node;
    /// Absolute; holds `init` and `bootstrap.py`, readable by everybody. Seen as /aegis/bin.
    std::string guest_dir;
    ports::GuestListenerFactory listeners;
    std::vector<std::string> launcher_command;  ///< an absolute path and arguments
    std::string run_base;  ///< replaces /run/aegis and its fallbacks when not empty
    WarmPool warm;
    std::size_t threads = 8;  ///< for what blocks
    /// Where an ordinary user's keeps where its cgroups are: the next daemon may have them
    /// elsewhere.
    std::string delegation_file;
    std::optional<Error> refused;  ///< why this process cannot have sandboxes
};

/// The embedded sandbox: processes in namespaces, cgroups and filters of their own, made by the
/// launcher. Needs the kernel's means, and root or what stands for it (os/user_namespace.h,
/// os/delegation.h), which available() tries once. Threads: one that
/// waits on all sandboxes, `threads` for what blocks; sinks and `done` callbacks run on the first.
/// The destructor kills what runs (at most 10 s).
///
/// After start(), a sandbox that is closed early still tells its sink: failed() with kCancelled, or
/// ended() with `died`, before close() reports.
class ProcessRuntime final : public ports::Runtime {
  public:
    /// kNotFound when the guest's files are missing. What the machine lacks is available()'s to
    /// say.
    static Result<std::unique_ptr<ProcessRuntime>> create(ProcessOptions options,
                                                          ports::RootImages& images,
                                                          Random& random);
    ~ProcessRuntime() override;

    std::string name() const override { return "process"; }
    Status available() override;
    /// Has it found out by the time somebody asks: it takes as long as a daemon's start does. Does
    /// not wait.
    void tryAhead();
    Result<ports::ImageFacts> checkImage(const std::string& image,
                                         const std::string& policy) override;
    /// An image that will be used, as checkImage() takes it to be: what its first sandbox would
    /// wait for is made in the background, if it can be.
    void expect(const std::string& image);
    void start(ports::SandboxSpec spec, Deadline deadline, ports::SandboxSink& sink) override;
    void close(const ports::SandboxId& id, Deadline deadline,
               std::function<void(Status)> done) override;
    void run(const ports::SandboxId& id, std::vector<std::string> command, Deadline deadline,
             std::function<void(Result<ports::CommandResult>)> done) override;
    Result<os::Fd> root(const ports::SandboxId& id) override;
    Status sweep(const std::set<ports::SandboxId>& keep) override;

  private:
    struct Impl;
    explicit ProcessRuntime(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::sandbox
