#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runner/prompt.h"

namespace aegis::runner {

/// A recorded execution.
struct Recording {
    ExecutionId execution;
    AgentId agent;
    const agent::Manifest& manifest;
    /// Events with seq > after, in order; empty: no more.
    std::function<Result<std::vector<execution::Event>>(std::uint64_t after)> events;
    BodyReader body;
};

/// Where the rules, or a text's digest, say something else than the record.
struct Divergence {
    std::uint64_t seq = 0;  ///< of the recorded event; 0: not of one event
    int iteration = 0;
    std::string what;  ///< "event", "body", "prompt", "tool call", "output", "validation", "end"
    std::string recorded, replayed;
};

struct ReplayReport {
    std::uint64_t events = 0;  ///< reproduced
    int iterations = 0;
    std::uint64_t bodies = 0;              ///< texts that are what their digests say
    std::uint64_t prompts = 0;             ///< rendered again
    std::uint64_t verdicts = 0;            ///< of validators that need no sandbox, reached again
    std::optional<Divergence> divergence;  ///< the first
    execution::State state;                ///< in the end
};

/// Runs a recorded execution again: the recorded answers of models, tools and sandboxes go through
/// the same rules that the runner uses, and everything these decide must be what was recorded,
/// event by event; prompts are rendered and validators that need no sandbox are asked again.
/// Nothing outside is touched. Errors are those of `events` alone. Any thread; may block on the
/// disk.
Result<ReplayReport> replay(const Recording& recording);

}  // namespace aegis::runner
