#include "agent/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "text/edit_distance.h"
#include "text/json.h"

namespace aegis::agent {
namespace {

constexpr std::size_t kUuidBytes = 36;
constexpr std::size_t kMaxListed = 10;
constexpr std::string_view kEllipsis = "-...";

Error ambiguous(std::string_view query, std::span<const Named> all,
                const std::vector<std::size_t>& matches, std::string_view noun) {
    std::string list;
    for (std::size_t i = 0; i < std::min(matches.size(), kMaxListed); ++i) {
        const Named& match = all[matches[i]];
        list += fmt::format("{}{}", i > 0 ? ", " : "", match.id);
        if (!match.name.empty()) list += fmt::format(" ({})", match.name);
    }
    if (matches.size() > kMaxListed)
        list += fmt::format(" and {} more", matches.size() - kMaxListed);
    return {ErrorCode::kInvalid,
            fmt::format("{} {} is ambiguous: it could be {}", noun, json::quote(query), list),
            "give more characters of the id"};
}

Error notFound(std::string_view query, std::span<const Named> all, std::string_view noun) {
    std::vector<std::string> names;
    for (const Named& one : all) {
        if (!one.name.empty()) names.push_back(one.name);
    }
    Error error(ErrorCode::kNotFound, fmt::format("{} {} not found", noun, json::quote(query)));
    if (auto near = text::closest(query, names)) {
        error.hint = fmt::format("did you mean {}?", json::quote(*near));
    } else if (!query.empty() && query.size() < kMinPrefix &&
               std::ranges::any_of(all, [&](const Named& n) { return n.id.starts_with(query); })) {
        error.hint = fmt::format("an id needs at least {} characters", kMinPrefix);
    }
    return error;
}

}  // namespace

std::string idPrefix(std::string_view query) {
    if (query.ends_with(kEllipsis)) query.remove_suffix(kEllipsis.size());
    if (query.size() < kMinPrefix || query.size() > kUuidBytes) return "";
    std::string prefix;
    for (char c : query) {
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
        bool allowed = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
        if (!allowed) return "";
        prefix += c;
    }
    return prefix;
}

Result<std::size_t> resolveName(std::string_view query, std::span<const Named> all,
                                std::string_view noun) {
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (!all[i].name.empty() && all[i].name == query) return i;
    }
    std::string prefix = idPrefix(query);
    std::vector<std::size_t> matches;
    for (std::size_t i = 0; i < all.size() && !prefix.empty(); ++i) {
        if (all[i].id == prefix) return i;
        if (all[i].id.starts_with(prefix)) matches.push_back(i);
    }
    if (matches.size() == 1) return matches.front();
    if (matches.empty()) return notFound(query, all, noun);
    return ambiguous(query, all, matches, noun);
}

}  // namespace aegis::agent
