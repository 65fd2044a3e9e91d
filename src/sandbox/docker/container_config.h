#pragma once

#include <compare>
#include <string>
#include <vector>

#include "base/ids.h"
#include "ports/sandbox.h"
#include "sandbox/common/mounts.h"
#include "sandbox/common/run_dir.h"
#include "sandbox/docker/engine.h"
#include "text/json.h"

namespace aegis::sandbox {

inline constexpr const char* kLabelNode = "aegis.node";
inline constexpr const char* kLabelExecution = "aegis.execution";
inline constexpr const char* kLabelSandbox = "aegis.sandbox";  ///< the ordinal
inline constexpr const char* kLabelIteration = "aegis.iteration";
inline constexpr const char* kLabelAgent = "aegis.agent";
inline constexpr const char* kLabelRun = "aegis.run";  ///< the run directory's name
inline constexpr const char* kLabelWarm =
    "aegis.warm";  ///< "1": started ahead, for whom is not said

/// Below this the engine's own threads that set a container up do not fit; the limit is lowered to
/// the manifest's once they are gone.
inline constexpr int kPidsToStart = 32;

/// Where something will be mounted once the container's first process stands. Until then there is
/// something empty that cannot be written to.
struct Place {
    std::string target;
    bool directory = true;
    auto operator<=>(const Place&) const = default;
};

/// The places that the image has to have for these mounts: those within others are theirs.
std::vector<Place> placesOf(const std::vector<OpenMount>& mounts);

struct ContainerPlan {
    const ports::SandboxSpec* spec = nullptr;
    NodeId node;
    const ImageInfo* image = nullptr;
    const std::vector<Place>* places = nullptr;
    RunDir run;
    std::string guest_dir;  ///< holds init and bootstrap.py
    int host_cpus = 1;
    bool ahead = false;  ///< it is nobody's yet
};

/// The body of `POST /containers/create`: everything in one call. Pure.
json::Object containerConfig(const ContainerPlan& plan);

}  // namespace aegis::sandbox
