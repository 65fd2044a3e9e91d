#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/manifest.h"
#include "execution/event.h"
#include "ports/models.h"
#include "ports/sandbox.h"

namespace aegis::ports {

/// What a tool call may know of its surroundings.
struct ToolContext {
    SandboxId sandbox;
    /// Shared by every call of an execution; immutable.
    std::shared_ptr<const agent::Manifest> manifest;
    /// The result is not wanted any more: a call that waits for others ends.
    std::stop_token stop;
    /// Told what was decided of a host that the call wants to reach. Any thread; never blocks.
    std::function<void(execution::EgressDecided)> egress;
};

/// A command for the guest: the `dispatch` message less its id.
struct DispatchCommand {
    std::string command;
    std::vector<std::string> args;
    std::string cwd;
    std::vector<std::pair<std::string, std::string>> env;
    int timeout_secs = 60;
    std::uint64_t max_output_bytes = 1048576;
};

/// What becomes of a call. `summary` is the watch line's text after the tool's name, at most
/// kMaxSummaryBytes, on one line.
struct ToolAdmission {
    enum class Verdict : std::uint8_t { kRun, kDispatch, kRefused } verdict = Verdict::kRefused;
    std::string summary;
    bool barrier = false;  ///< must not be repeated after a crash without saying so
    std::string reason;    ///< of a refusal: what the model and the record are told
    DispatchCommand dispatch;
};

struct ToolOutcome {
    bool ok = true;
    std::string text;  ///< what the model is told
    std::string summary;
    std::string reason;  ///< of a failure, one line
    std::optional<int> exit_code;
};

/// The guest's answer to a dispatch.
struct DispatchOutcome {
    int exit_code = 0;
    std::string standard_output, standard_error;
    std::int64_t duration_ms = 0;
    bool truncated = false;
};

/// The tools of this node. Safe on any thread.
class Tools {
  public:
    virtual ~Tools() = default;
    /// The names this node has, for the manifest's checks.
    virtual std::vector<std::string> names() const = 0;
    /// Those that the manifest allows and that can succeed under it.
    virtual std::vector<ToolSpec> offered(const agent::Manifest& manifest) const = 0;
    /// Decides at once, without touching anything. Unknown tools, bad JSON, bad arguments are
    /// refusals.
    virtual ToolAdmission admit(const ToolContext& context, const ToolCall& call) const = 0;
    /// Runs an admitted kRun call; `done` once, on any thread, also the caller's.
    virtual void run(const ToolContext& context, const ToolCall& call, Deadline deadline,
                     std::function<void(ToolOutcome)> done) = 0;
    /// Turns a guest's answer into what the model is told. Quick.
    virtual ToolOutcome finish(const ToolCall& call, const DispatchOutcome& outcome) const = 0;
};

/// Reads a file of the sandbox for validators, as the sandbox sees it, without following links out.
class SandboxFiles {
  public:
    virtual ~SandboxFiles() = default;
    virtual Result<std::string> read(const SandboxId& id, const std::string& path,
                                     std::uint64_t limit, Deadline deadline) = 0;
};

}  // namespace aegis::ports
