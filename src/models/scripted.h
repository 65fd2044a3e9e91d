#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ports/models.h"
#include "text/regex.h"

namespace aegis::models {

/// A provider without a model: answers from a script, for demonstrations and tests. A script is a
/// YAML list of {match: RE2 searched in the last user message, turns: [{tool_calls: [{name,
/// arguments}], content: text}]}; the first match wins, the turn is chosen by how many assistant
/// messages the conversation has. Immutable; safe on any thread.
class Script {
  public:
    /// Every problem at once, with its place; `file` is the name in the errors.
    static Result<Script> parse(std::string_view text, const std::string& file);
    /// Reads at most 8 MiB.
    static Result<Script> load(const std::string& path);

    /// The answer to a conversation. kUnavailable if nothing matches or the turns are used up.
    /// Tokens are counted as a quarter of the bytes, rounded up.
    Result<ports::ModelAnswer> answer(const ports::ModelRequest& request) const;

  private:
    struct Turn {
        std::string content;
        std::vector<ports::ToolCall> tool_calls;
    };
    struct Rule {
        std::optional<text::Regex> match;
        std::vector<Turn> turns;
    };
    class Parser;

    Script() = default;

    std::string file_;
    std::vector<Rule> rules_;
};

/// `text` in at most `pieces` parts, cut between UTF-8 characters.
std::vector<std::string_view> splitText(std::string_view text, std::size_t pieces);

}  // namespace aegis::models
