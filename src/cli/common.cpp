#include <fmt/format.h>

#include "cli/commands.h"

namespace aegis::cli {

Result<std::map<std::string, std::string>> parseLabels(const std::vector<std::string>& pairs) {
    std::map<std::string, std::string> out;
    for (const auto& pair : pairs) {
        auto equals = pair.find('=');
        if (equals == std::string::npos || equals == 0)
            return {ErrorCode::kInvalid, fmt::format("--label {}: expected key=value", pair)};
        out[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
    return out;
}

const json::Array& itemsOf(const json::Value& list) {
    static const json::Array kNone;
    const auto* items = json::find(list, "items");
    return items != nullptr && items->is_array() ? items->get_array() : kNone;
}

std::string ageText(std::int64_t ms) {
    auto seconds = ms / 1000;
    if (seconds < 0) return "0s";
    if (seconds < 120) return fmt::format("{}s", seconds);
    if (seconds < 7200) return fmt::format("{}m", seconds / 60);
    if (seconds < 172'800) return fmt::format("{}h", seconds / 3600);
    return fmt::format("{}d", seconds / 86'400);
}

}  // namespace aegis::cli
