#include "api/contract.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "text/edit_distance.h"

namespace aegis::api {
namespace {

std::string_view nextSegment(std::string_view& text) {
    text.remove_prefix(1);
    auto end = std::min(text.find('/'), text.size());
    auto segment = text.substr(0, end);
    text.remove_prefix(end);
    return segment;
}

std::vector<std::string> split(std::string_view words) {
    std::vector<std::string> out;
    while (!words.empty()) {
        auto end = std::min(words.find(' '), words.size());
        out.emplace_back(words.substr(0, end));
        words.remove_prefix(std::min(end + 1, words.size()));
    }
    return out;
}

bool isInteger(std::string_view text, std::int64_t least, std::int64_t most) {
    std::int64_t number = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
    return ec == std::errc{} && end == text.data() + text.size() && number >= least &&
           number <= most;
}

/// What was expected of a value that is not of its type; empty if it is.
std::string wrongValue(const Parameter& p, const std::string& value) {
    switch (p.type) {
        case ParameterType::kInteger:
            if (isInteger(value, p.least, p.most)) return {};
            if (p.most == INT64_MAX) return fmt::format("an integer of at least {}", p.least);
            return fmt::format("an integer from {} to {}", p.least, p.most);
        case ParameterType::kBoolean:
            return value == "true" || value == "false" ? "" : "true or false";
        case ParameterType::kTime:
            return UtcTime::parse(value) ? "" : "an RFC 3339 UTC time";
        case ParameterType::kWord: {
            auto words = split(p.words);
            if (std::ranges::find(words, value) != words.end()) return {};
            return fmt::format("one of {}", fmt::join(words, ", "));
        }
        case ParameterType::kLabel: {
            auto equals = value.find('=');
            return equals != std::string::npos && equals > 0 ? "" : "a label of the form k=v";
        }
        case ParameterType::kText:
        case ParameterType::kTexts:
            return json::isUtf8(value) ? "" : "UTF-8 text";
    }
    return {};
}

Error unknownParameter(const Operation& operation, const std::string& name) {
    std::vector<std::string> names;
    for (const auto& p : operation.query)
        names.emplace_back(p.name);
    Error error(ErrorCode::kInvalid,
                fmt::format("unknown query parameter \"{}\"", json::toUtf8(name)));
    if (auto near = text::closest(name, names, 2))
        error.hint = fmt::format("did you mean \"{}\"?", *near);
    else if (names.empty())
        error.hint = "this path takes none";
    else
        error.hint = fmt::format("known: {}", fmt::join(names, ", "));
    return error;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view path, std::vector<std::string>& captured) {
    captured.clear();
    while (!pattern.empty() && !path.empty()) {
        auto rest = path.substr(1);
        auto want = nextSegment(pattern);
        bool variable = want.starts_with('{');
        if (variable && want.ends_with("...}") && !rest.empty()) {
            captured.emplace_back(rest);
            return true;
        }
        auto have = nextSegment(path);
        if (variable && !have.empty())
            captured.emplace_back(have);
        else if (want != have)
            return false;
    }
    return pattern.empty() && path.empty();
}

Status checkQuery(const Operation& operation, const wire::Query& query) {
    Error errors(ErrorCode::kInvalid, "");
    std::set<std::string_view> seen;
    auto add = [&](const std::string& name, std::string message, std::string hint = {}) {
        if (errors.message.empty()) {
            errors.message = message;
            errors.hint = std::move(hint);
        }
        errors.details.push_back({"query." + json::toUtf8(name), "", 0, 0, std::move(message)});
    };
    for (const auto& [name, value] : query) {
        auto found = std::ranges::find(operation.query, std::string_view(name), &Parameter::name);
        if (found == operation.query.end()) {
            auto unknown = unknownParameter(operation, name);
            add(name, unknown.message, unknown.hint);
            continue;
        }
        bool repeats = found->type == ParameterType::kLabel || found->type == ParameterType::kTexts;
        if (!seen.insert(found->name).second && !repeats) {
            add(name, fmt::format("{} is given twice", name));
        } else if (auto expected = wrongValue(*found, value); !expected.empty()) {
            add(name, fmt::format("{} must be {}", name, expected));
        }
    }
    if (errors.details.empty()) return {};
    return errors;
}

}  // namespace aegis::api
