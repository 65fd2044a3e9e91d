#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace aegis::cli {

// The commands on manifests as files; each returns the exit code.

/// What a deploy of these would change.
int diffManifests(Context& context, const std::vector<std::string>& names);

/// Writes a commented starter manifest for `name` ("" for a default) to `file`: "" for
/// "<name>.yaml", "-" for stdout.
int initManifest(Context& context, const std::string& name, const std::string& file);

/// The text that initManifest() writes.
std::string starterManifest(const std::string& name);

/// The warnings of each item of a deploy's answer, on stderr.
void printDeployWarnings(const Context& context, const json::Array& items);

}  // namespace aegis::cli
