#pragma once

#include <map>
#include <string>

#include "text/json.h"

namespace aegis::cli {

/// Turns events into the lines of `--watch`, to the letter of the manual. One execution; one
/// thread.
class WatchLines {
  public:
    /// With `color` the words that say how something ended are in theirs.
    explicit WatchLines(bool color = false) : color_(color) {}

    /// The lines for one event, each with its newline; empty for events that are not shown.
    std::string add(const json::Value& event);

  private:
    std::string toolLine(const json::Value& event) const;
    std::string validationLines(const json::Value& event) const;
    std::string endLine(const json::Value& event, std::string_view verb) const;

    std::string word(std::string_view text) const;

    bool color_;
    std::map<std::int64_t, std::string> running_;  ///< summaries of tool calls by number
};

/// "Tool: <tool> <summary>" of a call that has ended, with " -> exit <n>" or " -> <reason>" where
/// it failed or was refused. `call` has `tool` and `exit_code`.
std::string toolCallText(const json::Value& call, std::string_view summary,
                         std::string_view reason);

/// The exit code that an execution's status means: 0, 6, 7.
int exitCodeOf(std::string_view status);
/// The status that a terminal event means; empty for others.
std::string_view statusOfEvent(std::string_view type);

/// "5.2s", "350ms" -> seconds with one decimal: "0.3s".
std::string secondsText(std::int64_t ms);

}  // namespace aegis::cli
