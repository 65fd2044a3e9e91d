#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ports/tools.h"

namespace aegis::tools {

enum class ArgType : std::uint8_t { kString, kInteger, kNumber, kBoolean, kStringList, kStringMap };

/// One argument of a tool. The texts live for ever.
struct ArgSpec {
    std::string_view name;
    ArgType type = ArgType::kString;
    bool required = false;
    std::string_view description;
};

/// The JSON Schema that the model is given.
json::Value schemaOf(std::span<const ArgSpec> args);

/// What the model sent, checked strictly: one JSON object, no unknown member, nothing missing,
/// every type right; a member that is null counts as absent and is left out. An error's message is
/// one line that tells the model what to send instead. The value is always an object.
Result<json::Value> parseArguments(std::string_view text, std::span<const ArgSpec> args);

/// `text` as a summary: on one line, control characters escaped, within kMaxSummaryBytes.
std::string summaryOf(std::string_view text);

/// A refusal: "<tool>: <why>" or, when `subject` is known, "<tool> <subject>: <why>".
std::string reasonOf(std::string_view tool, std::string_view subject, std::string_view why);

ports::ToolAdmission refusal(std::string summary, std::string reason);

}  // namespace aegis::tools
