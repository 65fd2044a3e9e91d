#pragma once

#include <string>

#include "runner/deps.h"

namespace aegis::runner {

/// The first message of an iteration: the manifest's template with its variables. Where the
/// template never mentions previous_error, iterations from the second on get it appended: a retry
/// never sends the same prompt blindly. Reads bodies (may block on the disk).
Result<std::string> renderPrompt(Deps& deps, const ExecutionContext& context,
                                 const execution::State& state);

}  // namespace aegis::runner
