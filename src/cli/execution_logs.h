#pragma once

#include "cli/context.h"

namespace aegis::cli {

/// Adds `execution logs` to the group.
void addLogsCommand(CLI::App& group, Context& context);

}  // namespace aegis::cli
