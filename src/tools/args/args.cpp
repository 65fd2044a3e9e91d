#include "tools/args/args.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "text/escape.h"

namespace aegis::tools {
namespace {

std::string_view typeText(ArgType type) {
    switch (type) {
        case ArgType::kString:
            return "a string";
        case ArgType::kInteger:
            return "an integer";
        case ArgType::kNumber:
            return "a number";
        case ArgType::kBoolean:
            return "true or false";
        case ArgType::kStringList:
            return "an array of strings";
        case ArgType::kStringMap:
            return "an object whose values are strings";
    }
    return "";
}

json::Object typeSchema(ArgType type) {
    switch (type) {
        case ArgType::kString:
            return {{"type", "string"}};
        case ArgType::kInteger:
            return {{"type", "integer"}};
        case ArgType::kNumber:
            return {{"type", "number"}};
        case ArgType::kBoolean:
            return {{"type", "boolean"}};
        case ArgType::kStringList:
            return {{"type", "array"}, {"items", json::Object{{"type", "string"}}}};
        case ArgType::kStringMap:
            return {{"type", "object"}, {"additionalProperties", json::Object{{"type", "string"}}}};
    }
    return {};
}

bool isInteger(const json::Value& value) {
    if (value.is_int64() || value.is_uint64()) return true;
    return value.is_double() && std::trunc(value.get_double()) == value.get_double() &&
           std::abs(value.get_double()) < 1e15;
}

bool hasType(const json::Value& value, ArgType type) {
    switch (type) {
        case ArgType::kString:
            return value.is_string();
        case ArgType::kInteger:
            return isInteger(value);
        case ArgType::kNumber:
            return value.is_number();
        case ArgType::kBoolean:
            return value.is_bool();
        case ArgType::kStringList:
            return value.is_array() &&
                   std::ranges::all_of(value.get_array(), [](auto& v) { return v.is_string(); });
        case ArgType::kStringMap:
            return value.is_object() && std::ranges::all_of(value.get_object(), [](auto& member) {
                       return member.value().is_string();
                   });
    }
    return false;
}

std::string knownNames(std::span<const ArgSpec> args) {
    std::vector<std::string_view> names;
    for (const auto& arg : args)
        names.push_back(arg.name);
    return fmt::format("{}", fmt::join(names, ", "));
}

std::string parseProblem(const Error& error) {
    if (error.details.empty()) return error.message;
    const auto& at = error.details.front();
    return fmt::format("line {}, column {}: {}", at.line, at.column, at.message);
}

}  // namespace

json::Value schemaOf(std::span<const ArgSpec> args) {
    json::Object properties;
    json::Array required;
    for (const auto& arg : args) {
        auto schema = typeSchema(arg.type);
        schema["description"] = arg.description;
        properties[arg.name] = std::move(schema);
        if (arg.required) required.emplace_back(arg.name);
    }
    return json::Object{{"type", "object"},
                        {"properties", std::move(properties)},
                        {"required", std::move(required)},
                        {"additionalProperties", false}};
}

Result<json::Value> parseArguments(std::string_view text, std::span<const ArgSpec> args) {
    auto parsed = json::parse(text.empty() ? "{}" : text);
    if (!parsed)
        return {ErrorCode::kInvalid,
                fmt::format("the arguments are not JSON ({}); send one JSON object with: {}",
                            text::escapeControl(parseProblem(parsed.error())), knownNames(args))};
    if (!parsed->is_object())
        return {ErrorCode::kInvalid,
                fmt::format("the arguments must be one JSON object with: {}", knownNames(args))};
    json::Object checked;
    for (auto& member : parsed->get_object()) {
        auto spec = std::ranges::find(args, std::string_view(member.key()), &ArgSpec::name);
        if (spec == args.end())
            return {ErrorCode::kInvalid,
                    fmt::format("unknown argument \"{}\"; known: {}",
                                text::shorten(text::escapeControl(member.key()), 80),
                                knownNames(args))};
        if (member.value().is_null() && !spec->required) continue;
        if (!hasType(member.value(), spec->type))
            return {ErrorCode::kInvalid,
                    fmt::format("argument \"{}\" must be {}", spec->name, typeText(spec->type))};
        checked.emplace(member.key(), std::move(member.value()));
    }
    for (const auto& arg : args)
        if (arg.required && !checked.contains(arg.name))
            return {ErrorCode::kInvalid, fmt::format("argument \"{}\" is missing", arg.name)};
    return json::Value(std::move(checked));
}

std::string summaryOf(std::string_view text) {
    return text::shorten(text::escapeControl(text::headUtf8(text, 2 * execution::kMaxSummaryBytes)),
                         execution::kMaxSummaryBytes);
}

std::string reasonOf(std::string_view tool, std::string_view subject, std::string_view why) {
    if (subject.empty()) return fmt::format("{}: {}", tool, why);
    return fmt::format("{} {}: {}", tool, summaryOf(subject), why);
}

ports::ToolAdmission refusal(std::string summary, std::string reason) {
    return {.verdict = ports::ToolAdmission::Verdict::kRefused,
            .summary = std::move(summary),
            .reason = std::move(reason)};
}

}  // namespace aegis::tools
