#pragma once

#include "cli/context.h"
#include "cli/node_commands.h"

namespace aegis::cli {

/// Parses the command line and runs the command; returns the exit code of the manual.
int runApp(int argc, char** argv, Clock& clock, Context::ServiceFactory factory,
           const NodeCommands& node);

/// The commands and flags, all of them: what is parsed, and what help, completion and man pages are
/// made from. `context` and `node` must outlive it.
void buildTree(CLI::App& app, Context& context, const NodeCommands& node);

}  // namespace aegis::cli
