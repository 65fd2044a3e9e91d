#pragma once

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

struct ContainerPlan {
    const ports::SandboxSpec* spec = nullptr;
    NodeId node;
    const ImageInfo* image = nullptr;
    const std::vector<HostMount>* mounts = nullptr;
    RunDir run;
    std::string guest_dir;  ///< holds init and bootstrap.py
    int host_cpus = 1;
    /// Set for a container that is nobody's yet: where volumes will be mounted once it is.
    const std::vector<std::string>* places = nullptr;
};

/// The body of `POST /containers/create`: everything in one call. Pure.
json::Object containerConfig(const ContainerPlan& plan);

}  // namespace aegis::sandbox
