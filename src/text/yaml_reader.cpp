#include "text/yaml_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/time.h"
#include "text/edit_distance.h"
#include "text/escape.h"

namespace aegis::yaml {
namespace {

constexpr std::size_t kMaxShown = 80;
constexpr std::size_t kTypoDistance = 2;

std::vector<ErrorDetail> sorted(std::vector<ErrorDetail> details) {
    std::ranges::stable_sort(details, [](const ErrorDetail& a, const ErrorDetail& b) {
        return std::pair(a.line, a.column) < std::pair(b.line, b.column);
    });
    return details;
}

std::string number(double value) { return json::dumpNumber(value); }

}  // namespace

void Problems::error(std::string path, int line, int column, std::string message) {
    errors_.push_back({std::move(path), file_, line, column, std::move(message)});
}

void Problems::warning(std::string path, int line, int column, std::string message) {
    warnings_.push_back({std::move(path), file_, line, column, std::move(message)});
}

std::vector<ErrorDetail> Problems::takeErrors() { return sorted(std::exchange(errors_, {})); }
std::vector<ErrorDetail> Problems::takeWarnings() { return sorted(std::exchange(warnings_, {})); }

std::string shown(std::string_view text) { return json::quote(text::shorten(text, kMaxShown)); }

std::string shown(const Node& node) {
    if (!node.isScalar() || node.isNull()) return std::string(describe(node));
    json::Value value = resolve(node);
    return value.is_string() ? shown(node.scalar) : node.scalar.substr(0, kMaxShown);
}

std::string joinOr(std::span<const std::string> words) {
    std::string out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
        out += words[i];
    }
    return out;
}

std::string didYouMean(std::string_view name, const std::vector<std::string>& known) {
    auto near = text::closest(name, known, kTypoDistance);
    return near ? fmt::format("; did you mean {}?", json::quote(*near)) : std::string();
}

std::optional<std::uint64_t> parseSizeBytes(std::string_view text) {
    constexpr std::pair<std::string_view, double> kUnits[] = {
        {"Ki", 1024.0}, {"Mi", 1048576.0}, {"Gi", 1073741824.0}, {"Ti", 1099511627776.0},
        {"K", 1e3},     {"M", 1e6},        {"G", 1e9},           {"T", 1e12},
    };
    constexpr double kTooMany = 9.2e18;
    auto digits = text.find_first_not_of("0123456789.");
    auto amount = text.substr(0, digits);
    if (amount.empty() || amount.front() == '.' || amount.back() == '.') return std::nullopt;
    if (digits == std::string_view::npos) {
        std::uint64_t bytes = 0;
        auto [end, ec] = std::from_chars(amount.data(), amount.data() + amount.size(), bytes);
        if (ec != std::errc{} || end != amount.data() + amount.size() || bytes > kTooMany)
            return std::nullopt;
        return bytes;
    }
    double value = 0;
    auto [end, ec] = std::from_chars(amount.data(), amount.data() + amount.size(), value,
                                     std::chars_format::fixed);
    if (ec != std::errc{} || end != amount.data() + amount.size()) return std::nullopt;
    for (const auto& [unit, factor] : kUnits) {
        if (text.substr(digits) != unit) continue;
        double bytes = std::floor(value * factor);
        if (bytes > kTooMany) return std::nullopt;
        return static_cast<std::uint64_t>(bytes);
    }
    return std::nullopt;
}

std::string durationText(std::int64_t ms) {
    return ms % 1000 == 0 ? fmt::format("{}s", ms / 1000) : fmt::format("{}ms", ms);
}

json::Array stringArray(const std::vector<std::string>& values) {
    json::Array array;
    for (const auto& value : values)
        array.emplace_back(value);
    return array;
}

std::optional<std::string> readString(const Node& node, const std::string& path,
                                      Problems& problems) {
    if (node.isScalar() && !node.isNull()) return node.scalar;
    problems.error(path, node, fmt::format("is {} (expected text)", describe(node)));
    return std::nullopt;
}

std::optional<bool> readBool(const Node& node, const std::string& path, Problems& problems) {
    if (node.isScalar()) {
        json::Value value = resolve(node);
        if (value.is_bool()) return value.get_bool();
    }
    problems.error(path, node,
                   fmt::format("{} is not a boolean (expected true or false)", shown(node)));
    return std::nullopt;
}

std::optional<std::int64_t> readInteger(const Node& node, const std::string& path, std::int64_t min,
                                        std::int64_t max, Problems& problems) {
    std::string expected =
        max == INT64_MAX ? fmt::format("at least {}", min) : fmt::format("{} to {}", min, max);
    json::Value value = node.isScalar() ? resolve(node) : json::Value();
    if (!value.is_int64() && !value.is_uint64()) {
        problems.error(path, node,
                       fmt::format("{} is not an integer (expected {})", shown(node), expected));
        return std::nullopt;
    }
    if (value.is_uint64() || value.get_int64() < min || value.get_int64() > max) {
        problems.error(path, node,
                       fmt::format("{} is out of range (expected {})", shown(node), expected));
        return std::nullopt;
    }
    return value.get_int64();
}

std::optional<double> readNumber(const Node& node, const std::string& path, double min, double max,
                                 Problems& problems) {
    std::string expected = max > 1e18 ? fmt::format("at least {}", number(min))
                                      : fmt::format("{} to {}", number(min), number(max));
    json::Value value = node.isScalar() ? resolve(node) : json::Value();
    if (!value.is_number()) {
        problems.error(path, node,
                       fmt::format("{} is not a number (expected {})", shown(node), expected));
        return std::nullopt;
    }
    double result = value.to_number<double>();
    if (!(result >= min && result <= max)) {
        problems.error(path, node,
                       fmt::format("{} is out of range (expected {})", shown(node), expected));
        return std::nullopt;
    }
    return result;
}

std::optional<std::vector<std::string>> readStrings(const Node& node, const std::string& path,
                                                    Problems& problems) {
    if (!node.isSequence()) {
        problems.error(path, node, fmt::format("is {} (expected a list)", describe(node)));
        return std::nullopt;
    }
    std::vector<std::string> strings;
    bool ok = true;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        auto text = readString(node.items[i], itemPath(path, i), problems);
        ok = ok && text;
        if (text) strings.push_back(std::move(*text));
    }
    if (!ok) return std::nullopt;
    return strings;
}

namespace {

// Reads each member with `read`; nullopt if any is wrong, all of which are reported.
template <class T, class Read>
std::optional<std::map<std::string, T>> readMembers(const Node& node, const std::string& path,
                                                    Problems& problems, Read read) {
    if (!node.isMapping()) {
        problems.error(path, node, fmt::format("is {} (expected a mapping)", describe(node)));
        return std::nullopt;
    }
    std::map<std::string, T> members;
    bool ok = true;
    for (const Entry& entry : node.entries) {
        std::optional<T> value = read(entry.value, childPath(path, entry.key), problems);
        ok = ok && value;
        if (value) members.emplace(entry.key, std::move(*value));
    }
    if (!ok) return std::nullopt;
    return members;
}

}  // namespace

std::optional<std::map<std::string, std::string>> readStringMap(const Node& node,
                                                                const std::string& path,
                                                                Problems& problems) {
    return readMembers<std::string>(node, path, problems, readString);
}

std::optional<std::map<std::string, std::vector<std::string>>> readStringLists(
    const Node& node, const std::string& path, Problems& problems) {
    return readMembers<std::vector<std::string>>(node, path, problems, readStrings);
}

std::optional<std::int64_t> readDuration(const Node& node, const std::string& path,
                                         const DurationRange& range, Problems& problems) {
    auto ms = node.isScalar() ? parseDurationMs(node.scalar) : std::nullopt;
    if (!ms) {
        problems.error(path, node,
                       fmt::format("{} is not a duration (expected a number with a unit, such as "
                                   "500ms, 30s, 5m or 1h)",
                                   shown(node)));
    } else if (*ms < range.min_ms || *ms > range.max_ms) {
        problems.error(path, node,
                       fmt::format("{} is out of range (expected {})", shown(node), range.text));
        return std::nullopt;
    }
    return ms;
}

std::optional<std::uint64_t> readSize(const Node& node, const std::string& path,
                                      const SizeRange& range, Problems& problems) {
    auto bytes = node.isScalar() ? parseSizeBytes(node.scalar) : std::nullopt;
    if (!bytes) {
        problems.error(path, node,
                       fmt::format("{} is not a size (expected bytes, or a number with K, M, G, T, "
                                   "Ki, Mi, Gi or Ti)",
                                   shown(node)));
    } else if (*bytes < range.min || *bytes > range.max) {
        problems.error(path, node,
                       fmt::format("{} is out of range (expected {})", shown(node), range.text));
        return std::nullopt;
    }
    return bytes;
}

std::string childPath(const std::string& parent, std::string_view key) {
    return parent.empty() ? std::string(key) : fmt::format("{}.{}", parent, key);
}

std::string itemPath(const std::string& parent, std::size_t index) {
    return fmt::format("{}[{}]", parent, index);
}

Reader::Reader(const Node& node, std::string path, Problems& problems, Unknown unknown)
    : node_(node), path_(std::move(path)), problems_(problems), unknown_(unknown) {
    if (!node.isMapping())
        problems_.error(path_, node_, fmt::format("is {} (expected a mapping)", describe(node)));
}

const Node* Reader::get(std::string_view key) {
    if (std::ranges::find(known_, key) == known_.end()) {
        known_.emplace_back(key);
        problems_.field(path_, key);
    }
    const Node* value = node_.find(key);
    if (value && value->isNull() && unknown_ == Unknown::kLenient) return nullptr;
    return value;
}

const Node* Reader::older(std::string_view key, std::string_view today) {
    const Node* value = get(key);
    if (!value) return nullptr;
    for (const Entry& entry : node_.entries) {
        if (entry.key == key)
            problems_.warning(path(key), entry.line, entry.column,
                              fmt::format("an older spelling (write {})", today));
    }
    return value;
}

bool Reader::has(std::string_view key) const {
    const Node* value = node_.find(key);
    return value && !(value->isNull() && unknown_ == Unknown::kLenient);
}

std::string Reader::path(std::string_view key) const { return childPath(path_, key); }

bool Reader::string(std::string_view key, std::string& out) {
    const Node* node = get(key);
    auto value = node ? readString(*node, path(key), problems_) : std::nullopt;
    if (value) out = std::move(*value);
    return value.has_value();
}

bool Reader::boolean(std::string_view key, bool& out) {
    const Node* node = get(key);
    auto value = node ? readBool(*node, path(key), problems_) : std::nullopt;
    if (value) out = *value;
    return value.has_value();
}

bool Reader::integer(std::string_view key, std::int64_t& out, std::int64_t min, std::int64_t max) {
    const Node* node = get(key);
    auto value = node ? readInteger(*node, path(key), min, max, problems_) : std::nullopt;
    if (value) out = *value;
    return value.has_value();
}

bool Reader::integer(std::string_view key, int& out, std::int64_t min, std::int64_t max) {
    std::int64_t wide = 0;
    if (!integer(key, wide, min, std::min<std::int64_t>(max, INT32_MAX))) return false;
    out = static_cast<int>(wide);
    return true;
}

bool Reader::number(std::string_view key, double& out, double min, double max) {
    const Node* node = get(key);
    auto value = node ? readNumber(*node, path(key), min, max, problems_) : std::nullopt;
    if (value) out = *value;
    return value.has_value();
}

bool Reader::number(std::string_view key, std::optional<double>& out, double min, double max) {
    double value = 0;
    if (!number(key, value, min, max)) return false;
    out = value;
    return true;
}

bool Reader::duration(std::string_view key, std::int64_t& out, const DurationRange& range) {
    const Node* node = get(key);
    auto value = node ? readDuration(*node, path(key), range, problems_) : std::nullopt;
    if (value) out = *value;
    return value.has_value();
}

bool Reader::size(std::string_view key, std::uint64_t& out, const SizeRange& range) {
    const Node* node = get(key);
    auto value = node ? readSize(*node, path(key), range, problems_) : std::nullopt;
    if (value) out = *value;
    return value.has_value();
}

bool Reader::strings(std::string_view key, std::vector<std::string>& out) {
    const Node* node = get(key);
    auto value = node ? readStrings(*node, path(key), problems_) : std::nullopt;
    if (value) out = std::move(*value);
    return value.has_value();
}

bool Reader::stringMap(std::string_view key, std::map<std::string, std::string>& out) {
    const Node* node = get(key);
    auto value = node ? readStringMap(*node, path(key), problems_) : std::nullopt;
    if (value) out = std::move(*value);
    return value.has_value();
}

bool Reader::require(std::string_view key, std::string_view what) {
    if (get(key)) return true;
    if (node_.isMapping()) error(key, fmt::format("is required (expected {})", what));
    return false;
}

void Reader::error(std::string_view key, std::string message) {
    const Node* value = node_.find(key);
    problems_.error(path(key), value ? *value : node_, std::move(message));
}

void Reader::warning(std::string_view key, std::string message) {
    const Node* value = node_.find(key);
    problems_.warning(path(key), value ? *value : node_, std::move(message));
}

void Reader::error(std::string message) { problems_.error(path_, node_, std::move(message)); }

void Reader::notAChoice(std::string_view key, const Node& node,
                        const std::vector<std::string>& words) {
    std::string hint = node.isScalar() ? didYouMean(node.scalar, words) : std::string();
    problems_.error(
        path(key), node,
        fmt::format("{} is not valid (expected {}{})", shown(node), joinOr(words), hint));
}

void Reader::finish() {
    for (const Entry& entry : node_.entries) {
        if (std::ranges::find(known_, entry.key) != known_.end()) continue;
        std::string where = childPath(path_, entry.key);
        if (auto near = text::closest(entry.key, known_, kTypoDistance)) {
            problems_.error(where, entry.line, entry.column,
                            fmt::format("unknown field (did you mean {}?)", json::quote(*near)));
        } else if (unknown_ == Unknown::kStrict) {
            problems_.error(where, entry.line, entry.column,
                            fmt::format("unknown field (expected {})", joinOr(known_)));
        } else {
            problems_.warning(where, entry.line, entry.column, "unknown field, ignored");
        }
    }
}

}  // namespace aegis::yaml
