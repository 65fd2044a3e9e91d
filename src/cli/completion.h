#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/tree.h"

namespace aegis::cli {

struct Candidate {
    std::string value;
    std::string description;  ///< one line; may be empty
};

/// What the shell's script does beyond offering the candidates.
enum class ShellAction : std::uint8_t {
    kNone,
    kFiles,    ///< paths of files too
    kAtFiles,  ///< the same, each behind "@"
};

struct Completion {
    std::vector<Candidate> candidates;
    ShellAction action = ShellAction::kNone;
};

/// What is to be listed of the daemon's.
struct NameQuery {
    ValueKind kind = ValueKind::kAgent;
    std::string_view command;  ///< the path below aegis: "execution cancel"
    std::string_view prefix;   ///< what has been typed
};
using NameLister = std::function<std::vector<Candidate>(const NameQuery&)>;

/// The value that a global flag has in `words`, or "".
std::string globalValue(const std::vector<std::string>& words, std::string_view flag);

/// Completes the last of `words` (those after "aegis"; the last may be empty). Never fails: what is
/// wrong has no candidates.
Completion complete(CLI::App& app, const std::vector<std::string>& words, const NameLister& names);

/// "value\tdescription" lines, then ":files" or ":at-files" where there is an action.
std::string completionText(const Completion& completion);

/// The script of bash, zsh or fish; "" for any other shell.
std::string_view completionScript(std::string_view shell);

}  // namespace aegis::cli
