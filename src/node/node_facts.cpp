#include "node/node_facts.h"

#include <unistd.h>

#include <thread>

#include "image/root_store.h"

namespace aegis::node {

std::string imageDir(const std::string& data_dir) { return data_dir + "/images"; }

bool embeddedReady(const config::Config& config, const std::string& data_dir) {
    if (::geteuid() != 0) return false;
    image::RootStore store(imageDir(data_dir));
    for (const auto& [language, versions] : config.runtime.images)
        for (const auto& [version, reference] : versions)
            if (!reference.starts_with('/') && store.resolve(reference)) return true;
    return false;
}

agent::NodeFacts nodeFacts(const config::Config& config, const std::vector<std::string>& tools,
                           bool embedded_ready) {
    agent::NodeFacts facts;
    facts.isolations = {agent::Isolation::kDocker, agent::Isolation::kProcess};
    facts.default_isolation =
        embedded_ready ? agent::Isolation::kProcess : agent::Isolation::kDocker;
    // A choice that was written down is kept, and refused at deploy where it cannot be had.
    if (config.runtime.isolation_given) {
        auto chosen = agent::isolationFromName(config.runtime.isolation);
        if (chosen) facts.default_isolation = *chosen;
    }
    facts.capabilities.emplace(agent::capability::kBudget);
    facts.capabilities.emplace(agent::capability::kEgress);
    facts.images = config.runtime.images;
    facts.tools.insert(tools.begin(), tools.end());
    facts.host_millicores = static_cast<int>(std::thread::hardware_concurrency()) * 1000;
    return facts;
}

}  // namespace aegis::node
