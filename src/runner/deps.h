#pragma once

#include <map>
#include <memory>
#include <string>

#include "agent/manifest.h"
#include "base/random.h"
#include "ports/journal.h"
#include "ports/models.h"
#include "ports/sandbox.h"
#include "ports/tools.h"
#include "ports/volumes.h"
#include "runner/body_cache.h"
#include "runner/mailbox.h"
#include "runner/pool.h"
#include "runner/scheduler.h"
#include "runner/timers.h"

namespace aegis::runner {

/// What every actor and effect uses. All of it outlives every actor; all of it is safe on any thread.
struct Deps {
    Clock& clock;
    Random& random;
    ports::Journal& journal;
    ports::Models& models;
    ports::Tools& tools;
    ports::SandboxFiles& files;
    ports::Volumes& volumes;
    std::map<std::string, ports::Runtime*> runtimes;  ///< by isolation
    CoreThreads& core;
    Pool& workers;     ///< short jobs that read bodies, render, parse
    Pool& validators;  ///< jobs that wait for the sandbox
    Timers& timers;
    Scheduler& scheduler;
    BodyCache& bodies;
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
    execution::BodyRef input;
    ports::Runtime* runtime = nullptr;
};

/// Names of the exclusive locks that an execution needs: its agent's persistent read-write volumes.
std::vector<std::string> locksOf(const ExecutionContext& context);

}  // namespace aegis::runner
