#pragma once

#include "agent/manifest.h"

/// For tests: a node that has every capability there is.
namespace aegis::agent {

inline void grantEveryCapability(NodeFacts& facts) {
    for (auto name : {capability::kSemanticValidator, capability::kMultiJudgeValidator,
                      capability::kToolValidation, capability::kBudget, capability::kSchedule,
                      capability::kContextFile, capability::kContextUrl, capability::kEnvFromNode,
                      capability::kEnvSecret, capability::kVolumeSource, capability::kStartupScript,
                      capability::kWarmPool, capability::kEgress})
        facts.capabilities.emplace(name);
}

}  // namespace aegis::agent
