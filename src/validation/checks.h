#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/manifest.h"
#include "execution/event.h"

namespace aegis::validation {

/// What one validator found. `detail` is the whole text for the next iteration, empty when all is
/// well.
struct Verdict {
    double score = 0;
    double confidence = 1;
    std::string detail;
};

/// A validator whose target is missing, unreadable or too large, or that could not be run.
Verdict unreadable(std::string_view what);

/// Passes when the bootstrap ended by itself with `check.expected` (and, unless allowed, an empty
/// stderr).
Verdict checkExitCode(const agent::ExitCodeCheck& check, std::optional<int> exit_code,
                      std::string_view standard_error);

/// `text` must be one JSON document that `schema` accepts; every violation is a line "<pointer>:
/// <what>". With `strip_fence` one surrounding Markdown code fence is ignored.
Verdict checkJsonSchema(const json::Value& schema, std::string_view text, bool strip_fence);

/// Passes when the pattern matches somewhere. `target` names the text for people.
Verdict checkRegex(const agent::RegexCheck& check, std::string_view text);

/// Passes on exit code 0. The tails of both outputs become the detail.
Verdict checkCommand(const std::vector<std::string>& command, int exit_code, bool timed_out,
                     std::string_view standard_output, std::string_view standard_error);

/// The text inside one Markdown code fence that surrounds all of `text`, else `text` itself.
std::string_view stripFence(std::string_view text);

/// Adds verdicts in order; the first that does not pass ends the chain.
class Chain {
  public:
    /// False when the chain has ended: no further validator is to be run.
    bool add(const agent::Validator& validator, Verdict verdict);
    bool passed() const { return passed_; }
    /// The event, whose details are cut to fit; `error` is left to the caller (see errorText).
    execution::ValidationCompleted result() const;
    /// What the next iteration is told: whole details of what failed. Empty when all passed.
    const std::string& errorText() const { return error_; }

  private:
    std::vector<execution::ValidationResult> results_;
    bool passed_ = true;
    double score_ = 1;
    std::string error_;
};

}  // namespace aegis::validation
