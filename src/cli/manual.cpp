#include "cli/manual.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <array>
#include <utility>

#include "cli/help.h"
#include "cli/tree.h"

namespace aegis::cli {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array<Pair, 11> kExitCodes{
    {{"0", "Success; of execute --watch, run and execution wait: the execution completed."},
     {"1", "Not found."},
     {"2", "A validation or usage error: manifest, configuration, input, flags, a local file."},
     {"3", "Permission denied or unauthenticated."},
     {"4", "In conflict with the current state: paused, archived, in use, already finished."},
     {"5", "The daemon cannot be reached."},
     {"6", "The watched execution failed."},
     {"7", "The watched execution was cancelled."},
     {"8", "The time of wait --timeout ran out."},
     {"10", "Internal error."},
     {"130", "Interrupted by Ctrl-C."}}};

constexpr std::array<Pair, 6> kEnvironment{
    {{"AEGIS_DAEMON_ADDR", "The daemon to talk to, where --daemon-addr is not given."},
     {"AEGIS_TOKEN", "The bearer token, where --token is not given."},
     {"AEGIS_CA_FILE", "Authorities (PEM) to trust for https addresses, instead of the system's."},
     {"AEGIS_DATA_DIR", "Where a daemon keeps its state, if its configuration does not say."},
     {"NO_COLOR", "No colours, if it is set and not empty."},
     {"COLUMNS", "The width of tables on a terminal, instead of the terminal's own."}}};

/// Text as troff prints it: backslashes, dashes that can be copied, no line that is a request.
std::string escaped(std::string_view text) {
    std::string out;
    bool line_start = true;
    for (char c : text) {
        if (line_start && (c == '.' || c == '\'')) out += "\\&";
        line_start = c == '\n';
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else if (c == '\'')
            out += "\\(aq";
        else if (c == '"')
            out += "\\(dq";
        else if (c == '~')
            out += "\\(ti";
        else if (c == '^')
            out += "\\(ha";
        else
            out += c;
    }
    return out;
}

class Troff {
  public:
    void title(std::string_view name, std::string_view version) {
        out_ = fmt::format(".TH {} 1 \"\" \"aegis {}\" \"AEGIS Manual\"\n.nh\n.ad l\n",
                           escaped(name), escaped(version));
    }
    void section(std::string_view name) { out_ += fmt::format(".SH {}\n", escaped(name)); }
    void subsection(std::string_view name) { out_ += fmt::format(".SS {}\n", escaped(name)); }
    void text(std::string_view words) {
        if (!words.empty()) out_ += escaped(words) + "\n";
    }
    void paragraph(std::string_view words) {
        if (!words.empty()) out_ += ".PP\n" + escaped(words) + "\n";
    }
    void bold(std::string_view words) { out_ += fmt::format("\\fB{}\\fR\n", escaped(words)); }
    void entry(std::string_view name, std::string_view words) {
        out_ += fmt::format(".TP\n\\fB{}\\fR\n{}\n", escaped(name), escaped(words));
    }
    void lineBreak() { out_ += ".br\n"; }
    void example(const Example& example) {
        out_ += ".PP\n";
        if (!example.what.empty()) out_ += "# " + escaped(example.what) + "\n.br\n";
        out_ += fmt::format(".RS 4\n.nf\n{}\n.fi\n.RE\n", escaped(example.line));
    }
    std::string take() { return std::move(out_); }

  private:
    std::string out_;
};

std::string trimmed(std::string text) {
    text.erase(0, text.find_first_not_of(' '));
    return text;
}

void addFlags(Troff& page, const CLI::App& command) {
    for (const auto* argument : argumentsOf(command))
        page.entry(argumentText(command, *argument), descriptionOf(*argument));
    for (const auto* flag : flagsOf(command))
        page.entry(trimmed(flagText(command, *flag)), descriptionOf(*flag));
}

void addExamples(Troff& page, const CLI::App& command) {
    const auto* text = helpTextOf(pathBelow(command));
    if (text == nullptr) return;
    for (const auto& example : text->examples)
        page.example(example);
}

void addSynopsis(Troff& page, const CLI::App& command) {
    page.section("SYNOPSIS");
    auto commands = commandsOf(command);
    if (commands.empty()) return page.bold(usageOf(command));
    bool first = true;
    for (const auto* sub : commands) {
        if (!std::exchange(first, false)) page.lineBreak();
        page.bold(usageOf(*sub));
    }
}

void addAbout(Troff& page, const CLI::App& command) {
    const auto* text = helpTextOf(pathBelow(command));
    page.text(command.get_description() + ".");
    if (text != nullptr) page.paragraph(text->about);
}

void addTable(Troff& page, std::string_view heading, const auto& rows) {
    page.section(heading);
    for (const auto& [name, what] : rows)
        page.entry(name, what);
}

std::string mainPage(const CLI::App& app, std::string_view version) {
    Troff page;
    page.title("AEGIS", version);
    page.section("NAME");
    page.text("aegis - run autonomous agents under control");
    page.section("SYNOPSIS");
    page.bold("aegis <command> [flags]");
    page.section("DESCRIPTION");
    page.text(helpTextOf("")->about);
    page.section("COMMANDS");
    for (const auto* sub : commandsOf(app))
        page.entry(fmt::format("aegis-{}(1)", sub->get_name()), sub->get_description());
    page.section("GLOBAL FLAGS");
    page.text("They may stand before and after the command.");
    addFlags(page, app);
    addTable(page, "EXIT STATUS", kExitCodes);
    addTable(page, "ENVIRONMENT", kEnvironment);
    page.section("FILES");
    page.entry("./aegis-config.yaml",
               "The node's configuration, read by daemon, config, doctor "
               "and image only.");
    page.section("EXAMPLES");
    addExamples(page, app);
    return page.take();
}

std::string commandPage(const CLI::App& command, std::string_view version) {
    auto name = "aegis-" + command.get_name();
    Troff page;
    std::string upper = name;
    std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
    page.title(upper, version);
    page.section("NAME");
    page.text(fmt::format("{} - {}", name, command.get_description()));
    addSynopsis(page, command);
    page.section("DESCRIPTION");
    addAbout(page, command);
    auto commands = commandsOf(command);
    if (!commands.empty()) page.section("COMMANDS");
    for (const auto* sub : commands) {
        page.subsection(pathOf(*sub));
        addAbout(page, *sub);
        addFlags(page, *sub);
    }
    if (!argumentsOf(command).empty() || !flagsOf(command).empty()) {
        page.section("OPTIONS");
        addFlags(page, command);
    }
    page.section("EXAMPLES");
    addExamples(page, command);
    for (const auto* sub : commands)
        addExamples(page, *sub);
    page.section("SEE ALSO");
    page.text("aegis(1) for the global flags, exit status and environment.");
    return page.take();
}

/// A cell of a Markdown table.
std::string cell(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == '|') out += '\\';
        out += c;
    }
    return out;
}

void addMarkdown(std::string& out, const CLI::App& command) {
    for (const auto* sub : commandsOf(command)) {
        if (!commandsOf(*sub).empty()) {
            addMarkdown(out, *sub);
            continue;
        }
        out += fmt::format("\n### `{}`\n\n{}.", usageOf(*sub), sub->get_description());
        const auto* text = helpTextOf(pathBelow(*sub));
        if (text != nullptr && !text->about.empty()) out += fmt::format(" {}", text->about);
        out += "\n";
        if (argumentsOf(*sub).empty() && flagsOf(*sub).empty()) continue;
        out += "\n| | |\n|---|---|\n";
        auto row = [&](const std::string& name, const CLI::Option& option) {
            out += fmt::format("| `{}` | {} |\n", cell(name), cell(descriptionOf(option)));
        };
        for (const auto* argument : argumentsOf(*sub))
            row(argumentText(*sub, *argument), *argument);
        for (const auto* flag : flagsOf(*sub))
            row(trimmed(flagText(*sub, *flag)), *flag);
    }
}

}  // namespace

std::vector<ManPage> manPages(const CLI::App& app, std::string_view version) {
    std::vector<ManPage> pages{{"aegis.1", mainPage(app, version)}};
    for (const auto* sub : commandsOf(app))
        pages.push_back({fmt::format("aegis-{}.1", sub->get_name()), commandPage(*sub, version)});
    return pages;
}

std::string markdownReference(const CLI::App& app) {
    std::string out;
    addMarkdown(out, app);
    return out;
}

}  // namespace aegis::cli
