#pragma once

#include <functional>
#include <memory>

#include "runner/actor.h"

namespace aegis::runner {

/// Texts up to this size, all together, are handled at once: another thread would cost more.
inline constexpr std::size_t kSmallBytes = 16U << 10U;

/// Starts one effect for an actor and returns how to cancel it (never null). Called on the actor's
/// core thread; results are posted back to it. Reads of the state happen here, before it returns.
std::function<void()> startEffect(const std::shared_ptr<Actor>& actor,
                                  const execution::EffectKey& key);

// One function for each family, in files of their own.
std::function<void()> startSandbox(const std::shared_ptr<Actor>& actor,
                                   const execution::EffectKey& key);
std::function<void()> closeSandbox(const std::shared_ptr<Actor>& actor,
                                   const execution::EffectKey& key);
std::function<void()> attachVolumes(const std::shared_ptr<Actor>& actor);
std::function<void()> callModel(const std::shared_ptr<Actor>& actor,
                                const execution::EffectKey& key);
std::function<void()> admitTool(const std::shared_ptr<Actor>& actor,
                                const execution::EffectKey& key);
std::function<void()> runTool(const std::shared_ptr<Actor>& actor,
                              const execution::EffectKey& key);
std::function<void()> validate(const std::shared_ptr<Actor>& actor,
                               const execution::EffectKey& key);

/// Tool call number `index` of a recorded answer. Reads the body (may block on the disk).
Result<ports::ToolCall> loadToolCall(Deps& deps, const ExecutionId& id,
                                     const execution::BodyRef& answer, int index);

/// Reports the execution's volumes that are full, after something inside may have written. Asks the
/// file systems, so not for core threads.
void reportFullVolumes(const std::shared_ptr<Actor>& actor);

/// Kills what `ordinal` names, then calls back; at once where there was none. Deadline 10 s.
void killSandbox(const std::shared_ptr<Actor>& actor, int ordinal,
                 std::function<void(Status)> done);

/// A deadline on the boot clock for an absolute time that an event stores.
Deadline deadlineAt(Clock& clock, UtcTime at);

}  // namespace aegis::runner
