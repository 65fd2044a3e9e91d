#pragma once

#include "agent/manifest.h"
#include "config/config.h"

namespace aegis::daemon {

/// What this build and this configuration offer to manifests; aliases are added by the caller.
agent::NodeFacts nodeFacts(const config::Config& config, const std::vector<std::string>& tools);

}  // namespace aegis::daemon
