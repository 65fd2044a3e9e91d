#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/manifest.h"
#include "base/random.h"
#include "os/timers.h"
#include "os/worker_pool.h"
#include "ports/journal.h"
#include "ports/models.h"
#include "ports/registry.h"
#include "ports/sandbox.h"
#include "ports/tools.h"
#include "ports/volumes.h"
#include "runner/body_cache.h"
#include "runner/mailbox.h"
#include "runner/scheduler.h"

namespace aegis::runner {

/// The world outside, as the runner sees it. All of it outlives the runner; all of it is safe on
/// any thread.
struct RunnerPorts {
    Clock& clock;
    Random& random;
    ports::Journal& journal;
    ports::Registry& registry;
    ports::Models& models;
    ports::Tools& tools;
    ports::SandboxFiles& files;
    ports::Volumes& volumes;
    std::map<std::string, ports::Runtime*> runtimes;  ///< by isolation
};

/// What every actor and effect uses: the ports and the runner's own threads. Shared by the runner
/// and its actors, because a result of an effect may come, and must find stopped threads rather
/// than none, after the runner is gone.
struct Deps : RunnerPorts {
    Deps(RunnerPorts ports, std::size_t core_threads, std::size_t worker_threads,
         std::size_t validator_threads, std::size_t concurrent, std::size_t cache_bytes);

    /// A short job that reads bodies, renders, parses.
    void work(std::function<void()> job) { (void)workers.submit(std::move(job)); }
    /// Ends all threads; what is posted later is dropped. Repeatable.
    void stop();

    CoreThreads core;
    os::WorkerPool workers;
    os::WorkerPool validators;  ///< jobs that wait for the sandbox
    os::WorkerPool background;  ///< one thread: loading executions again
    os::Timers timers;
    Scheduler scheduler;
    BodyCache bodies;
};

/// What a guest asks of the model.
struct GuestAsk {
    int sandbox = 0;
    std::string request_id;
    std::string model_alias;
    std::string format;  ///< of LlmCallStarted
    ports::Body prompt;
};

/// Why the model gave no answer, and when it may be worth another try.
struct ModelFailure {
    Error error;
    std::optional<std::int64_t> retry_after_ms;
};

/// What is fixed for one execution.
struct ExecutionContext {
    ExecutionId id;
    AgentId agent_id;
    std::string agent_name;
    int agent_revision = 0;
    /// Shared by every effect of the execution; immutable.
    std::shared_ptr<const agent::Manifest> manifest;
    std::string isolation;
    std::string image;
    std::map<std::string, std::string> labels;
    std::string idempotency_key, idempotency_digest;
    std::vector<std::string> locks;  ///< set by the runner: see locksOf
    execution::BodyRef input;
    /// Null only after a restart with a configuration that no longer offers what the manifest
    /// asks for; `no_runtime` says what.
    ports::Runtime* runtime = nullptr;
    Error no_runtime;
};

/// Names of the exclusive locks that an execution needs: of each volume that it may write to and
/// that another execution can have too. Blocks where an existing volume has to be looked up.
Result<std::vector<std::string>> locksOf(const ExecutionContext& context, ports::Volumes& volumes);

}  // namespace aegis::runner
