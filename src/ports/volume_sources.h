#pragma once

#include <string>

#include "ports/volumes.h"

/// Which volume is meant, by whom. Pure.
namespace aegis::ports {

/// The id of the volume that `execution` gets for an ephemeral one of its manifest: always the
/// same, so that a repeated attach needs no look-up and a crash in between loses nothing. As random
/// as the execution's id is.
VolumeId ephemeralVolume(const ExecutionId& execution, const std::string& name);

/// What the one that writes to a volume holds: of a persistent one that of (agent, name), which is
/// known before it is made.
std::string volumeLock(const AgentId& agent, const std::string& name);
std::string volumeLock(const VolumeRecord& record);

/// Whether the existing volume `record` can be the source of `volume`, whose size is 0 if it gives
/// none.
Status canBeMounted(const agent::Volume& volume, const VolumeRecord& record);

}  // namespace aegis::ports
