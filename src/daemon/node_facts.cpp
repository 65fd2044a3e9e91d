#include "daemon/node_facts.h"

#include <thread>

namespace aegis::daemon {

agent::NodeFacts nodeFacts(const config::Config& config, const std::vector<std::string>& tools) {
    agent::NodeFacts facts;
    facts.isolations = {agent::Isolation::kDocker};
    facts.default_isolation = agent::Isolation::kDocker;
    // The default stands for what this build has; a choice that was written down is kept, and
    // refused at deploy where it cannot be had.
    if (config.runtime.isolation_given) {
        auto chosen = agent::isolationFromName(config.runtime.isolation);
        if (chosen) facts.default_isolation = *chosen;
    }
    facts.capabilities.emplace(agent::capability::kBudget);
    facts.images = config.runtime.images;
    facts.tools.insert(tools.begin(), tools.end());
    facts.host_millicores = static_cast<int>(std::thread::hardware_concurrency()) * 1000;
    return facts;
}

}  // namespace aegis::daemon
