#include "config/config.h"

namespace aegis::config {
namespace {

/// Taken over by a reload, or not settings of the daemon's at all.
bool isTakenOver(const std::string& name) {
    return name == "llm" || name == "runtime.max_concurrent_executions" ||
           name == "observability.log_level" || name == "observability.log_format" ||
           name == "server.tls";
}

}  // namespace

std::vector<std::string> needsRestart(const Config& running, const Config& next) {
    std::vector<std::string> out;
    auto before = configToJson(running);
    auto after = configToJson(next);
    for (const auto& section : after) {
        std::string name(section.key());
        if (isTakenOver(name)) continue;
        const auto* old = before.if_contains(name);
        if (!section.value().is_object() || old == nullptr) {
            if (old == nullptr || *old != section.value()) out.push_back(name);
            continue;
        }
        for (const auto& setting : section.value().get_object()) {
            auto path = name + "." + std::string(setting.key());
            const auto* was = json::find(*old, setting.key());
            if (!isTakenOver(path) && (was == nullptr || *was != setting.value()))
                out.push_back(path);
        }
    }
    // Secrets look alike in the dump.
    if (!running.server.token.equals(next.server.token.reveal())) out.push_back("server.token");
    if (!running.storage.database_url.equals(next.storage.database_url.reveal()))
        out.push_back("storage.database_url");
    bool had_tls = !running.server.tls_cert_file.empty();
    if (had_tls == next.server.tls_cert_file.empty()) out.push_back("server.tls");
    return out;
}

}  // namespace aegis::config
