#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/manifest.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"

namespace aegis::ports {

/// Names one sandbox: the execution and the ordinal that only grows. Fences everything a guest
/// says.
struct SandboxId {
    ExecutionId execution;
    int ordinal = 0;
    auto operator<=>(const SandboxId&) const = default;
};

/// An attached volume, as the volumes port hands it to the sandbox port. `source` means nothing
/// outside the adapters (a host directory for Docker).
struct AttachedVolume {
    VolumeId id;
    std::string name;
    std::string mount_point;
    std::string source;
};

/// Everything a fresh sandbox needs.
struct SandboxSpec {
    SandboxId id;
    AgentId agent;
    std::string agent_name;
    int iteration = 0;
    std::string image;  ///< a local reference or a `docker save` archive's path
    std::string image_pull_policy;
    std::vector<AttachedVolume> volumes;
    std::vector<agent::MountGrant> mounts;        ///< in mount order
    std::vector<std::string> create_directories;  ///< before the first mount, owned by 1000:1000
    int cpu_millicores = 1000;
    std::uint64_t memory_bytes = 0;
    std::uint64_t tmp_bytes = 0;
    int pids = 0;
    std::map<std::string, std::string> env;  ///< on top of the image's; the AEGIS_ ones included
    std::string cwd;
    std::string bootstrap_path;     ///< in the image; empty: the injected one
    std::string startup_script;     ///< for /bin/sh, before the bootstrap; empty: none
    std::optional<int> keep_ready;  ///< sandboxes of this kind; none: as many as of others
    std::shared_ptr<const std::string> prompt;  ///< shared with the journal's body cache
};

struct SandboxStartInfo {
    std::string runtime;  ///< "docker"
    std::string name;     ///< container id, shortened
    std::int64_t start_ms = 0;
};

/// How the bootstrap ended. Outputs are the captured heads, at most the adapter's cap each.
struct BootstrapExit {
    std::optional<int> exit_code;  ///< none: it did not end by itself
    int signal = 0;
    bool out_of_memory = false;  ///< an OOM kill happened in the sandbox
    std::string died;            ///< the sandbox itself died: why
    std::string standard_output, standard_error;
    std::uint64_t stdout_bytes = 0, stderr_bytes = 0;  ///< before the cap
    bool startup_failed = false;                       ///< it was the startup script that ended so
};

/// Called on the adapter's threads; must not block. up() or failed() once; after up(), ended()
/// once.
class SandboxSink {
  public:
    virtual ~SandboxSink() = default;
    virtual void up(const SandboxId& id, SandboxStartInfo info) = 0;
    /// `fatal`: no sandbox can be had on this node (no engine, no image); else this one failed.
    virtual void failed(const SandboxId& id, Error error, bool fatal) = 0;
    virtual void ended(const SandboxId& id, BootstrapExit exit) = 0;
};

struct CommandResult {
    int exit_code = -1;
    bool timed_out = false;
    std::string standard_output, standard_error;  ///< tails
};

/// Accepts the guest's connections on a unix socket until destroyed. Made by the guest API, maybe
/// before it is known for whom: until then it serves nobody.
class GuestListener {
  public:
    virtual ~GuestListener() = default;
    /// Once.
    virtual void assign(const SandboxId& id) = 0;
};
using GuestListenerFactory =
    std::function<Result<std::unique_ptr<GuestListener>>(const std::string& socket_path)>;

/// Whose a listener is. One thread sets it, any may look.
class Assigned {
  public:
    void set(const SandboxId& id) {
        id_ = id;
        known_.store(true, std::memory_order_release);
    }
    /// nullptr: nobody's yet.
    const SandboxId* get() const { return known_.load(std::memory_order_acquire) ? &id_ : nullptr; }

  private:
    SandboxId id_;
    std::atomic<bool> known_{false};
};

/// What is known of an image before a sandbox is made of it.
struct ImageFacts {
    bool declares_command = false;  ///< an ENTRYPOINT or CMD; false for one still to be pulled
};

/// Makes sandboxes. One implementation per isolation. Safe on any thread; nothing blocks but where
/// said.
class Runtime {
  public:
    virtual ~Runtime() = default;
    virtual std::string name() const = 0;

    /// Whether sandboxes can be made now; the error says what to do. Blocks at most 2 s.
    virtual Status available() = 0;
    /// Whether `image` can be used under `policy`; the error says how to get it. Blocks on the
    /// engine.
    virtual Result<ImageFacts> checkImage(const std::string& image, const std::string& policy) = 0;

    /// `sink` must outlive the sandbox.
    virtual void start(SandboxSpec spec, Deadline deadline, SandboxSink& sink) = 0;
    /// Kills every process of it, then reports; its remains are removed soon after. Repeatable; an
    /// unknown id is success. kTimeout: death could not be proven by the deadline.
    virtual void close(const SandboxId& id, Deadline deadline,
                       std::function<void(Status)> done) = 0;
    /// Runs a command after the bootstrap has ended (command validators).
    virtual void run(const SandboxId& id, std::vector<std::string> command, Deadline deadline,
                     std::function<void(Result<CommandResult>)> done) = 0;
    /// An O_PATH descriptor of the root directory as the sandbox sees it, for the fs tools. Fast.
    virtual Result<os::Fd> root(const SandboxId& id) = 0;

    /// Kills and removes every sandbox of this node but those in `keep`, and what they left.
    /// Blocks.
    virtual Status sweep(const std::set<SandboxId>& keep) = 0;
};

}  // namespace aegis::ports
