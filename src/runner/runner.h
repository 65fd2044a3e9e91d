#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "ports/egress.h"
#include "runner/actor.h"
#include "runner/deps.h"

namespace aegis::runner {

struct RunnerOptions {
    std::size_t max_concurrent_executions = 64;
    std::size_t core_threads = 2;
    std::size_t worker_threads = 8;
    std::size_t validator_threads = 16;
    std::size_t body_cache_bytes = 64U << 20U;
    /// isolation, image: how a stored manifest resolves on this node.
    std::function<Result<std::pair<std::string, std::string>>(const agent::Manifest&)> resolve;
};

/// A new execution, checked already.
struct Submission {
    ExecutionContext context;
    execution::ExecutionCreated created;
    ports::Body input;
};

/// All executions of this node. Safe on any thread.
class Runner : public ports::EgressSink {
  public:
    Runner(RunnerPorts ports, RunnerOptions options);
    ~Runner() override;
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    /// Sweeps what earlier daemons left, goes on with every unfinished execution, then lets new
    /// ones run. Blocks; call once. What cannot be swept is logged and left for the next sweep.
    void recover();

    /// Blocks until the execution is durable (or refused: kStorageFull, kConflict, kUnavailable);
    /// when it was made.
    Result<UtcTime> submit(Submission submission);

    /// Blocks until no process of it is alive and the journal says so. kNotFound if it is not
    /// running here, kConflict if its outcome was decided otherwise, kTimeout past the deadline.
    Status cancel(const ExecutionId& id, const std::string& reason, Deadline deadline);

    /// A guest's request; errors come through the call.
    void generate(const ports::SandboxId& sandbox, proto::guest::GenerateRequest request,
                  GuestCallPtr call);
    /// The same in another API's format (proto/chat.h); `format` as in LlmCallStarted.
    void chat(const ports::SandboxId& sandbox, std::string format, std::string model_alias,
              const json::Object& prompt, GuestCallPtr call);
    void dispatchResult(const ports::SandboxId& sandbox, proto::guest::DispatchResult result,
                        GuestCallPtr call);

    std::optional<agent::NetworkSpec> network(const ports::SandboxId& sandbox) override;
    void decided(const ports::SandboxId& sandbox, execution::EgressDecided data) override;

    /// Removes every sandbox, writes no event: the next start goes on with what was running. New
    /// submissions are refused from here on. Repeatable.
    void shutdown(Deadline deadline);

    /// Expired volumes and left-overs; called every few seconds. Blocks.
    void sweepVolumes();
    /// Removes executions that ended at or before `time`, with their events, logs and bodies; a
    /// bounded number of them a call. Blocks.
    void removeEnded(UtcTime time);

    /// The resolved isolation and image of a manifest on this node.
    Result<std::pair<std::string, std::string>> resolve(const agent::Manifest& manifest) const {
        return options_.resolve(manifest);
    }
    ports::Runtime* runtime(const std::string& isolation) const;
    void setMaxConcurrent(std::size_t limit) { deps_->scheduler.setLimit(limit); }
    std::size_t running() const { return deps_->scheduler.running(); }
    std::size_t queued() const { return deps_->scheduler.queued(); }

  private:
    std::shared_ptr<Actor> find(const ExecutionId& id) const;
    Status load(const ports::ExecutionRow& row);
    Result<ExecutionContext> contextOf(const ports::ExecutionRow& row);
    std::shared_ptr<Actor> start(ExecutionContext context, execution::State state);
    void ended(const ExecutionId& id, Actor::End how);
    void reload(const ExecutionId& id);
    void retryLater(const ExecutionId& id);

    RunnerOptions options_;
    const std::shared_ptr<Deps> deps_;  ///< see Deps
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::map<ExecutionId, std::shared_ptr<Actor>> actors_;
    bool stopping_ = false;
};

}  // namespace aegis::runner
