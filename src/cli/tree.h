#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

/// What help, completion, man pages and the manual read off the tree of commands, the one place
/// where commands and flags are defined.
namespace aegis::cli {

/// What may stand as a value.
enum class ValueKind : std::uint8_t {
    kText,
    kWords,  ///< one of a few
    kFile,
    kInput,  ///< JSON, @file or -
    kAgent,
    kExecution,
    kVolume,
    kModel,
    kCommand,  ///< words of commands, for `help`
};

struct ValueInfo {
    ValueKind kind = ValueKind::kText;
    std::string placeholder;  ///< "<agent>", "json|table|yaml"
    std::vector<std::string> words;
};

/// Of an option that takes a value, or of a positional argument.
ValueInfo valueOf(const CLI::App& command, const CLI::Option& option);
bool takesValue(const CLI::Option& option);
/// May be given more than once.
bool isRepeatable(const CLI::Option& option);

/// Subcommands and flags that help shows, in the order of their definition.
std::vector<CLI::App*> commandsOf(const CLI::App& command);
std::vector<const CLI::Option*> flagsOf(const CLI::App& command);
std::vector<const CLI::Option*> argumentsOf(const CLI::App& command);

/// "aegis agent deploy".
std::string pathOf(const CLI::App& command);
const CLI::App& rootOf(const CLI::App& command);
/// "-o, --output json|table|yaml"; a flag without a short form is indented as if it had one.
std::string flagText(const CLI::App& command, const CLI::Option& option);
/// "<file>...", "[name]".
std::string argumentText(const CLI::App& command, const CLI::Option& option);
/// "aegis agent deploy <file>... [flags]".
std::string usageOf(const CLI::App& command);
/// The description, without what is said by other means.
std::string descriptionOf(const CLI::Option& option);

}  // namespace aegis::cli
