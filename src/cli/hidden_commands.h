#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/context.h"

namespace CLI {
class App;
}

namespace aegis::cli {

/// The commands that scripts call and no help shows: `__complete -- WORD...` for the shells, and
/// `__man DIR`, which writes the man pages into DIR when AEGIS is built and installed.
/// Nothing if `words` is neither; else the exit code.
std::optional<int> runHidden(CLI::App& app, Context& context, const std::vector<std::string>& words,
                             std::string_view version);

}  // namespace aegis::cli
