#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/timers.h"
#include "os/worker_pool.h"
#include "ports/tools.h"
#include "tools/cmd/cmd_run.h"
#include "tools/web/web_fetch.h"

namespace aegis::tools {

struct TableOptions {
    bool dispatcher_enabled = true;  ///< false: no cmd.run on this node
    CmdOptions cmd;
    ports::Web* web = nullptr;  ///< outlives the table; none: no web.fetch on this node
    std::size_t workers = 8;
    std::size_t max_queue = 1024;
};

/// The tools of this node. `runtimes` are asked for a sandbox's root one after the other; they and
/// `clock` must outlive it. Safe on any thread. A call that
/// misses its deadline is answered as failed by the watchdog; what it still does on its worker is
/// confined to the sandbox's own files, and its result is dropped.
class ToolTable : public ports::Tools, public ports::SandboxFiles {
  public:
    ToolTable(TableOptions options, std::vector<ports::Runtime*> runtimes, Clock& clock);
    ~ToolTable() override;

    std::vector<std::string> names() const override;
    std::vector<ports::ToolSpec> offered(const agent::Manifest& manifest) const override;
    ports::ToolAdmission admit(const ports::ToolContext& context,
                               const ports::ToolCall& call) const override;
    void run(const ports::ToolContext& context, const ports::ToolCall& call, Deadline deadline,
             std::function<void(ports::ToolOutcome)> done) override;
    ports::ToolOutcome finish(const ports::ToolCall& call,
                              const ports::DispatchOutcome& outcome) const override;

    /// Blocks until `deadline` at most.
    Result<std::string> read(const ports::SandboxId& id, const std::string& path,
                             std::uint64_t limit, Deadline deadline) override;

  private:
    struct Job;
    std::vector<std::string> offeredNames(const agent::Manifest& manifest) const;
    Result<os::Fd> rootOf(const ports::SandboxId& id) const;
    void finishLate(const std::shared_ptr<Job>& job, std::string why);

    TableOptions options_;
    CmdRun cmd_;
    std::optional<WebFetch> web_;
    const std::vector<ports::Runtime*> runtimes_;
    Clock& clock_;
    std::atomic<bool> stopping_ = false;
    os::Timers watchdog_;
    os::WorkerPool pool_;  ///< last: gone first, its jobs use the rest
};

}  // namespace aegis::tools
