#include "node/node_facts.h"

#include <fmt/format.h>
#include <unistd.h>

#include <thread>

#include "image/root_store.h"
#include "os/clock.h"
#include "os/files.h"
#include "os/user_namespace.h"
#include "text/json.h"

namespace aegis::node {

Result<NodeId> nodeId(const std::string& data_dir) {
    auto path = data_dir + "/node_id";
    if (auto text = os::readFile(path, 64)) {
        if (auto id = NodeId::parse(text->substr(0, 36))) return *id;
        return {ErrorCode::kInvalid, fmt::format("{}: is not a node id", path)};
    }
    auto id = NodeId::generate(os::systemRandom());
    AEGIS_CHECK(os::writeFileAtomic(path, id.str() + "\n"));
    return id;
}

std::string imageDir(const std::string& data_dir) { return data_dir + "/images"; }

bool embeddedReady(const config::Config& config, const std::string& data_dir) {
    if (::geteuid() != 0) return false;
    image::RootStore store(imageDir(data_dir));
    for (const auto& [language, versions] : config.runtime.images)
        for (const auto& [version, reference] : versions)
            if (!reference.starts_with('/') && store.resolve(reference)) return true;
    return false;
}

std::optional<std::string> embeddedImage(const std::string& manifest_json,
                                         const agent::NodeFacts& facts) {
    const auto value = json::parse(manifest_json);
    if (!value) return std::nullopt;
    const auto manifest = agent::manifestFromJson(*value);
    if (!manifest || agent::resolvedIsolation(*manifest, facts) != agent::Isolation::kProcess)
        return std::nullopt;
    auto image = agent::resolvedImage(*manifest, facts);
    if (!image) return std::nullopt;
    return std::move(*image);
}

agent::NodeFacts nodeFacts(const config::Config& config, const std::vector<std::string>& tools,
                           bool embedded_ready) {
    agent::NodeFacts facts;
    facts.isolations = {agent::Isolation::kDocker, agent::Isolation::kProcess};
    facts.default_isolation =
        embedded_ready ? agent::Isolation::kProcess : agent::Isolation::kDocker;
    // There the engine's containers are of users that this process does not have.
    if (os::inOwnUserNamespace()) {
        facts.isolations = {agent::Isolation::kProcess};
        facts.default_isolation = agent::Isolation::kProcess;
    }
    // A choice that was written down is kept, and refused at deploy where it cannot be had.
    if (config.runtime.isolation_given) {
        auto chosen = agent::isolationFromName(config.runtime.isolation);
        if (chosen) facts.default_isolation = *chosen;
    }
    facts.capabilities.emplace(agent::capability::kBudget);
    facts.capabilities.emplace(agent::capability::kEgress);
    facts.capabilities.emplace(agent::capability::kWarmPool);
    facts.capabilities.emplace(agent::capability::kStartupScript);
    facts.capabilities.emplace(agent::capability::kVolumeSource);
    facts.images = config.runtime.images;
    facts.tools.insert(tools.begin(), tools.end());
    facts.host_millicores = static_cast<int>(std::thread::hardware_concurrency()) * 1000;
    return facts;
}

}  // namespace aegis::node
