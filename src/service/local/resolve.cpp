// Names, ids and prefixes to records.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "agent/registry.h"
#include "service/local/local_service.h"
#include "text/edit_distance.h"

namespace aegis::service {
namespace {

constexpr int kShownMatches = 10;

Error notFound(std::string_view what, const std::string& reference, std::string hint = {}) {
    return {ErrorCode::kNotFound, fmt::format("{} \"{}\" not found", what, reference),
            std::move(hint)};
}

Error ambiguous(std::string_view what, const std::string& reference,
                const std::vector<std::string>& matches) {
    return {ErrorCode::kInvalid,
            fmt::format("{} \"{}\" is ambiguous: it could be {}", what, reference,
                        fmt::join(matches, ", ")),
            "give more characters of the id"};
}

}  // namespace

Result<ports::AgentRecord> LocalService::resolveAgent(const std::string& reference) {
    if (auto record = p_.registry.byName(reference)) return record;
    if (auto id = AgentId::parse(reference)) {
        auto record = p_.registry.byId(*id);
        if (!record && record.error().code == ErrorCode::kNotFound)
            return notFound("agent", reference);
        return record;
    }
    if (auto prefix = agent::idPrefix(reference); !prefix.empty()) {
        AEGIS_TRY(auto matches, p_.registry.byPrefix(prefix, kShownMatches));
        if (matches.size() == 1) return p_.registry.byId(matches.front().id);
        if (matches.size() > 1) {
            std::vector<std::string> shown;
            for (const auto& m : matches)
                shown.push_back(fmt::format("{} ({})", m.id.str(), m.name));
            return ambiguous("agent", reference, shown);
        }
    }
    std::string hint;
    if (auto all = p_.registry.list({})) {
        std::vector<std::string> names;
        for (const auto& r : all->records)
            names.push_back(r.name);
        if (auto near = text::closest(reference, names, 2))
            hint = fmt::format("did you mean \"{}\"?", *near);
    }
    return notFound("agent", reference, std::move(hint));
}

Result<std::string> LocalService::agentFilter(const std::string& reference) {
    if (reference.empty()) return reference;
    auto agent = resolveAgent(reference);
    // A name means its archived bearers too; only a prefix has to become an id here.
    if (agent) return agent->name == reference ? reference : agent->id.str();
    if (agent.error().code != ErrorCode::kNotFound) return agent.error();
    ports::AgentFilter everyone;
    everyone.all = true;
    AEGIS_TRY(auto all, p_.registry.list(everyone));
    for (const auto& record : all.records) {
        if (record.name == reference) return reference;
    }
    return agent.error();
}

Result<ports::ExecutionRow> LocalService::resolveExecution(const std::string& reference) {
    if (reference == "@last") {
        AEGIS_TRY(auto newest, p_.journal.idsByPrefix("", 1));
        if (newest.empty()) return Error(ErrorCode::kNotFound, "there are no executions yet");
        return p_.journal.row(newest.front());
    }
    if (auto id = ExecutionId::parse(reference)) {
        auto row = p_.journal.row(*id);
        if (!row && row.error().code == ErrorCode::kNotFound)
            return notFound("execution", reference);
        return row;
    }
    if (auto prefix = agent::idPrefix(reference); !prefix.empty()) {
        AEGIS_TRY(auto matches, p_.journal.idsByPrefix(prefix, kShownMatches));
        if (matches.size() == 1) return p_.journal.row(matches.front());
        if (matches.size() > 1) {
            std::vector<std::string> shown;
            for (const auto& m : matches)
                shown.push_back(m.str());
            return ambiguous("execution", reference, shown);
        }
    }
    return notFound("execution", reference);
}

Result<ports::VolumeRecord> LocalService::resolveVolume(const std::string& reference) {
    AEGIS_TRY(auto all, p_.volumes.list());
    std::vector<agent::Named> named;
    for (const auto& record : all)
        named.push_back({record.id.str(), ""});
    AEGIS_TRY(auto at, agent::resolveName(reference, named, "volume"));
    return p_.volumes.get(all[at].id);
}

}  // namespace aegis::service
