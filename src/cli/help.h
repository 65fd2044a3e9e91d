#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace aegis::cli {

/// An example of a command: what it shows and what is typed.
struct Example {
    std::string_view what;
    std::string_view line;
};

/// What help and the man page say of a command beyond its flags.
struct HelpText {
    std::string_view path;   ///< "agent deploy"; "" for aegis itself
    std::string_view about;  ///< paragraphs between blank lines; may be empty
    std::vector<Example> examples;
};

/// Null if nothing is said of that command.
const HelpText* helpTextOf(std::string_view path);
const std::vector<HelpText>& allHelpTexts();

/// The heading under which a command of the first level is listed.
std::string_view headingOf(std::string_view command);
/// All headings, in order.
const std::vector<std::string_view>& headings();

/// The same path as helpTextOf takes: without "aegis".
std::string pathBelow(const CLI::App& command);

/// The text of --help, at most `width` columns where words allow.
std::string helpText(const CLI::App& command, std::size_t width, bool color);

/// `text` in lines of at most `width` columns, each behind `indent` spaces but the first.
std::string wrapped(std::string_view text, std::size_t width, std::size_t indent);

}  // namespace aegis::cli
