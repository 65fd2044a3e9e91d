// Deploying agents and changing their status.

#include <fmt/format.h>

#include "service/local/local_service.h"
#include "service/local/volume_sources.h"

namespace aegis::service {
namespace {

struct Checked {
    agent::ParsedManifest parsed;
    std::vector<std::string> warnings;
};

/// Every manifest of every file, or every problem of all of them.
Result<std::vector<Checked>> parseAll(const std::vector<ManifestFile>& files,
                                      const agent::NodeFacts& facts) {
    std::vector<Checked> out;
    Error errors(ErrorCode::kInvalid, "");
    for (const auto& file : files) {
        auto parsed = agent::parseManifests(file.text, file.name, facts);
        if (!parsed) {
            auto& error = parsed.error();
            if (error.details.empty())
                error.details.push_back({"", file.name, 0, 0, error.message});
            for (auto& detail : error.details) errors.details.push_back(std::move(detail));
            if (error.code == ErrorCode::kTooLarge) errors.code = error.code;
            continue;
        }
        for (auto& manifest : *parsed) {
            Checked checked{std::move(manifest), {}};
            for (const auto& warning : checked.parsed.warnings)
                checked.warnings.push_back(warning.str());
            out.push_back(std::move(checked));
        }
    }
    if (errors.details.empty()) return out;
    auto count = errors.details.size();
    errors.message = fmt::format("the manifest is not valid: {} problem{}", count,
                                 count == 1 ? "" : "s");
    return errors;
}

Status distinctNames(const std::vector<Checked>& all) {
    std::map<std::string, int> seen;
    for (const auto& checked : all) {
        const auto& name = checked.parsed.manifest.metadata.name;
        if (++seen[name] > 1)
            return {ErrorCode::kInvalid, fmt::format("agent \"{}\" is given twice", name)};
    }
    return {};
}

ports::NewRevision revisionOf(const agent::ParsedManifest& parsed) {
    const auto& meta = parsed.manifest.metadata;
    return {meta.name,
            meta.version,
            meta.description,
            meta.labels,
            meta.annotations,
            parsed.source,
            json::dump(agent::manifestToJson(parsed.manifest))};
}

std::string_view resultName(ports::DeployResult::What what) {
    switch (what) {
        case ports::DeployResult::What::kCreated: return "created";
        case ports::DeployResult::What::kUpdated: return "updated";
        case ports::DeployResult::What::kUnchanged: return "unchanged";
    }
    return "created";
}

/// An image that cannot be had now may be there when an execution needs it: a warning.
void imageWarning(Checked& checked, const std::string& image,
                  const Result<ports::ImageFacts>& facts) {
    const auto& manifest = checked.parsed.manifest;
    if (!facts) {
        const auto& error = facts.error();
        checked.warnings.push_back(error.hint.empty()
                                       ? error.message
                                       : fmt::format("{} (hint: {})", error.message, error.hint));
    } else if (facts->declares_command && !manifest.runtime.image.empty() &&
               manifest.advanced.bootstrap_path.empty()) {
        checked.warnings.push_back(fmt::format(
            "the command of image {} will not run: the managed bootstrap runs in its place (hint: "
            "name the image's own with spec.advanced.bootstrap_path)",
            image));
    }
}

/// What makes sandboxes or volumes cannot do so now: this node does not offer what the manifest
/// asks for (ADR 13). "unreachable" would say that the daemon is away.
Error notOffered(Error error) {
    error.code = ErrorCode::kUnsupported;
    return error;
}

json::Array warningsOf(const Checked& checked) {
    json::Array out;
    for (const auto& warning : checked.warnings) out.push_back(json::Value(warning));
    return out;
}

}  // namespace

Result<json::Value> LocalService::deploy(const Principal&, const std::vector<ManifestFile>& files,
                                         bool validate_only) {
    auto facts = p_.facts();
    AEGIS_TRY(auto all, parseAll(files, facts));
    AEGIS_CHECK(distinctNames(all));
    for (auto& checked : all) {
        auto& manifest = checked.parsed.manifest;
        // Fixed at deploy: what an agent runs in does not change with the node's default.
        manifest.runtime.isolation = agent::resolvedIsolation(manifest, facts);
        auto isolation = std::string(agent::name(manifest.runtime.isolation));
        auto* runtime = p_.runner.runtime(isolation);
        if (runtime == nullptr)
            return Error(ErrorCode::kUnsupported,
                         fmt::format("isolation {} is not available on this node", isolation));
        if (auto available = runtime->available(); !available) return notOffered(available.error());
        AEGIS_TRY(auto image, agent::resolvedImage(manifest, facts));
        auto policy = std::string(agent::name(manifest.runtime.image_pull_policy));
        imageWarning(checked, image, runtime->checkImage(image, policy));
        if (!manifest.volumes.empty()) {
            if (auto limits = p_.volumes.available(); !limits) return notOffered(limits.error());
            AEGIS_CHECK(warnOfSources(p_.volumes, manifest, checked.warnings));
        }
    }
    json::Array items;
    if (validate_only) {
        for (const auto& checked : all) {
            items.push_back(json::Object{
                {"name", checked.parsed.manifest.metadata.name},
                {"result", "valid"},
                {"warnings", warningsOf(checked)},
                {"manifest_yaml", checked.parsed.source},
                {"manifest", agent::manifestToJson(checked.parsed.manifest)}});
        }
    } else {
        std::vector<ports::NewRevision> revisions;
        for (const auto& checked : all) revisions.push_back(revisionOf(checked.parsed));
        AEGIS_TRY(auto results, p_.registry.deploy(revisions));
        p_.feed.poke();
        for (std::size_t i = 0; i < results.size(); ++i) {
            auto record = agentRecord(results[i].record, true);
            record["result"] = resultName(results[i].what);
            record["warnings"] = warningsOf(all[i]);
            items.push_back(std::move(record));
        }
    }
    auto count = items.size();
    return json::Value(json::Object{{"items", std::move(items)}, {"count", count}});
}

Result<json::Value> LocalService::listAgents(const Principal&, const ListAgents& query) {
    ports::AgentFilter filter;
    if (!query.status.empty()) {
        filter.status = agentStatusFromName(query.status);
        if (!filter.status)
            return Error(ErrorCode::kInvalid, fmt::format("unknown status \"{}\"", query.status),
                         "one of deployed, paused, archived");
    }
    filter.all = query.all;
    filter.labels = query.labels;
    filter.limit = query.limit;
    filter.cursor = query.cursor;
    AEGIS_TRY(auto page, p_.registry.list(filter));
    json::Array items;
    for (const auto& record : page.records) items.push_back(agentRecord(record, false));
    auto count = items.size();
    auto next = page.next_cursor.empty() ? json::Value(nullptr) : json::Value(page.next_cursor);
    return json::Value(json::Object{
        {"items", std::move(items)}, {"count", count}, {"next_cursor", std::move(next)}});
}

Result<json::Value> LocalService::getAgent(const Principal&, const std::string& agent,
                                           int revision) {
    AEGIS_TRY(auto record, resolveAgent(agent));
    if (revision != 0 && revision != record.revision) {
        auto older = p_.registry.revision(record.id, revision);
        if (!older && older.error().code == ErrorCode::kNotFound)
            return Error(ErrorCode::kNotFound,
                         fmt::format("agent \"{}\" has no revision {}", record.name, revision),
                         fmt::format("the newest is {}", record.revision));
        AEGIS_TRY(record, std::move(older));
    }
    return json::Value(agentRecord(record, true));
}

Result<json::Value> LocalService::agentVersions(const Principal&, const std::string& agent) {
    AEGIS_TRY(auto record, resolveAgent(agent));
    AEGIS_TRY(auto revisions, p_.registry.revisions(record.id));
    json::Array items;
    for (const auto& r : revisions) {
        items.push_back(json::Object{{"revision", r.revision},
                                     {"version", r.version},
                                     {"created_at", r.deployed_at.rfc3339()},
                                     {"manifest_yaml", r.manifest_yaml}});
    }
    auto count = items.size();
    return json::Value(json::Object{{"items", std::move(items)}, {"count", count}});
}

Result<json::Value> LocalService::setStatus(const std::string& agent, ports::AgentStatus status) {
    AEGIS_TRY(auto record, resolveAgent(agent));
    AEGIS_TRY(auto changed, p_.registry.setStatus(record.id, status));
    p_.feed.poke();
    return json::Value(agentRecord(changed, true));
}

Result<json::Value> LocalService::pauseAgent(const Principal&, const std::string& agent) {
    return setStatus(agent, ports::AgentStatus::kPaused);
}
Result<json::Value> LocalService::resumeAgent(const Principal&, const std::string& agent) {
    return setStatus(agent, ports::AgentStatus::kDeployed);
}
Result<json::Value> LocalService::deleteAgent(const Principal&, const std::string& agent) {
    return setStatus(agent, ports::AgentStatus::kArchived);
}

}  // namespace aegis::service
