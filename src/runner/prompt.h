#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runner/deps.h"

namespace aegis::runner {

/// The text of a reference; an empty reference is an empty text. May block on the disk.
using BodyReader =
    std::function<Result<std::shared_ptr<const std::string>>(const execution::BodyRef&)>;

/// Whose prompt it is: what the template's variables need beside the state.
struct PromptSubject {
    const agent::Manifest& manifest;
    std::string agent_name;
    AgentId agent_id;
    ExecutionId execution;
};

/// The first message of an iteration: the manifest's template with its variables. Where the
/// template never mentions previous_error, iterations from the second on get it appended: a retry
/// never sends the same prompt blindly.
Result<std::string> renderPrompt(const PromptSubject& subject, const execution::State& state,
                                 const BodyReader& body);
/// The same for an execution that runs here.
Result<std::string> renderPrompt(Deps& deps, const ExecutionContext& context,
                                 const execution::State& state);

}  // namespace aegis::runner
