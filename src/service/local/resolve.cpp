// Names, ids and prefixes to records.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "service/local/local_service.h"
#include "text/edit_distance.h"

namespace aegis::service {
namespace {

constexpr std::size_t kMinPrefix = 4;
constexpr int kShownMatches = 10;

/// The hex-and-dash prefix that a reference means ("-..." as tables print it is cut off), or "".
std::string prefixOf(std::string reference) {
    if (reference.ends_with("-...")) reference.resize(reference.size() - 4);
    bool plausible = reference.size() >= kMinPrefix && reference.size() <= 36 &&
                     reference.find_first_not_of("0123456789abcdef-") == std::string::npos;
    return plausible ? reference : "";
}

Error notFound(std::string_view what, const std::string& reference, std::string hint = {}) {
    return {ErrorCode::kNotFound, fmt::format("{} \"{}\" not found", what, reference),
            std::move(hint)};
}

Error ambiguous(std::string_view what, const std::string& reference,
                const std::vector<std::string>& matches) {
    return {ErrorCode::kConflict,
            fmt::format("{} \"{}\" is ambiguous: it matches {}", what, reference,
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
    if (auto prefix = prefixOf(reference); !prefix.empty()) {
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
        for (const auto& r : all->records) names.push_back(r.name);
        if (auto near = text::closest(reference, names, 2))
            hint = fmt::format("did you mean \"{}\"?", *near);
    }
    return notFound("agent", reference, std::move(hint));
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
    if (auto prefix = prefixOf(reference); !prefix.empty()) {
        AEGIS_TRY(auto matches, p_.journal.idsByPrefix(prefix, kShownMatches));
        if (matches.size() == 1) return p_.journal.row(matches.front());
        if (matches.size() > 1) {
            std::vector<std::string> shown;
            for (const auto& m : matches) shown.push_back(m.str());
            return ambiguous("execution", reference, shown);
        }
    }
    return notFound("execution", reference);
}

Result<ports::VolumeRecord> LocalService::resolveVolume(const std::string& reference) {
    if (auto id = VolumeId::parse(reference)) return p_.volumes.get(*id);
    auto prefix = prefixOf(reference);
    AEGIS_TRY(auto all, p_.volumes.list());
    std::vector<ports::VolumeRecord> matches;
    for (auto& record : all) {
        if (!prefix.empty() && record.id.str().starts_with(prefix)) matches.push_back(record);
    }
    if (matches.size() == 1) return matches.front();
    if (matches.empty()) return notFound("volume", reference);
    std::vector<std::string> shown;
    for (const auto& m : matches) shown.push_back(m.id.str());
    return ambiguous("volume", reference, shown);
}

}  // namespace aegis::service
