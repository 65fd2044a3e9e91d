#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/yaml_out.h"

namespace aegis::cli {

Result<std::map<std::string, std::string>> parseLabels(const std::vector<std::string>& pairs) {
    std::map<std::string, std::string> out;
    for (const auto& pair : pairs) {
        auto equals = pair.find('=');
        if (equals == std::string::npos || equals == 0)
            return {ErrorCode::kInvalid, fmt::format("--label {}: expected key=value", pair)};
        auto [at, fresh] = out.emplace(pair.substr(0, equals), pair.substr(equals + 1));
        if (!fresh && at->second != pair.substr(equals + 1))
            return {ErrorCode::kInvalid, fmt::format("--label {}: {} was given as {} already", pair,
                                                     at->first, at->second)};
    }
    return out;
}

const json::Array& itemsOf(const json::Value& list) {
    static const json::Array kNone;
    const auto* items = json::find(list, "items");
    return items != nullptr && items->is_array() ? items->get_array() : kNone;
}

Result<json::Value> collectPages(int limit, const PageSource& page) {
    constexpr int kPage = 1000;  // the daemon's own limit
    json::Array all;
    std::string cursor;
    while (true) {
        int left = limit - static_cast<int>(all.size());
        AEGIS_TRY(auto got, page(limit == 0 ? 0 : std::min(left, kPage), cursor));
        const auto& items = itemsOf(got);
        all.insert(all.end(), items.begin(), items.end());
        cursor = json::getString(got, "next_cursor");
        bool enough = limit != 0 && all.size() >= static_cast<std::size_t>(limit);
        if (cursor.empty() || items.empty() || enough) return json::Value(std::move(all));
    }
}

Result<std::optional<UtcTime>> parseSince(const std::string& text, UtcTime now) {
    if (text.empty()) return std::optional<UtcTime>();
    auto ms = parseDurationMs(text);
    auto since = ms ? std::optional(UtcTime{now.ms - *ms}) : UtcTime::parse(text);
    if (!since)
        return {ErrorCode::kInvalid,
                fmt::format("--since {}: expected a duration like 1h or a time", text)};
    return since;
}

void printNamed(const Context& context, const json::Array& records, std::size_t named) {
    if (named != 1)
        context.printValue(records);
    else if (!records.empty())
        context.printValue(records.front());
}

void printStreamed(const Context& context, const json::Value& record) {
    if (context.format() == OutputFormat::kYaml)
        context.print("---\n" + yamlText(record));
    else
        context.print(json::dump(record) + "\n");
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
