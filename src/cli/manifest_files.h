#pragma once

#include <string>
#include <vector>

#include "service/service.h"

namespace aegis::cli {

/// The manifests that a user named: files, directories (their *.yaml and *.yml, by name, not
/// below), and "-" for standard input. What cannot be read is kInvalid, whatever the reason.
Result<std::vector<service::ManifestFile>> readManifests(const std::vector<std::string>& names);

}  // namespace aegis::cli
