#pragma once

#include <optional>
#include <string>

#include "agent/manifest.h"
#include "base/ids.h"
#include "base/result.h"
#include "config/config.h"

namespace aegis::node {

/// What this build and this configuration offer to manifests; aliases are added by the caller.
/// `embedded_ready`: what `inherit` comes to where the configuration is silent, see below.
agent::NodeFacts nodeFacts(const config::Config& config, const std::vector<std::string>& tools,
                           bool embedded_ready);

/// The identity of the node whose data directory this is; made when it has none yet. kInvalid.
Result<NodeId> nodeId(const std::string& data_dir);

/// Where images of the embedded sandbox are unpacked.
std::string imageDir(const std::string& data_dir);

/// Whether an embedded sandbox can be had without further ado: this user is root, and a base image
/// of the configuration is unpacked. Reads a few files; tries nothing.
bool embeddedReady(const config::Config& config, const std::string& data_dir);

/// The image of an agent whose sandboxes are embedded ones, by its resolved manifest; else nullopt.
std::optional<std::string> embeddedImage(const std::string& manifest_json,
                                         const agent::NodeFacts& facts);

}  // namespace aegis::node
