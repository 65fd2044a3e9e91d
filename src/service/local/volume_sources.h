#pragma once

#include <string>
#include <vector>

#include "ports/registry.h"
#include "ports/volumes.h"

/// Existing volumes that manifests mount by their ids.
namespace aegis::service {

/// Whether all of them are there and as the manifest says.
Status checkSources(ports::Volumes& volumes, const agent::Manifest& manifest);
/// The same for a deploy: a node's data may be restored after its agents. Fails only where nothing
/// can be found out.
Status warnOfSources(ports::Volumes& volumes, const agent::Manifest& manifest,
                     std::vector<std::string>& warnings);
/// kConflict if an agent that is not archived mounts the volume.
Status namedByNobody(ports::Registry& registry, const VolumeId& volume);

}  // namespace aegis::service
