#pragma once

#include "cli/context.h"

namespace aegis::cli {

/// `volume files` and `volume cp`.
void addVolumeFileCommands(CLI::App& group, Context& context);

}  // namespace aegis::cli
