#include "cli/app.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "cli/commands.h"
#include "cli/help.h"
#include "cli/hidden_commands.h"
#include "cli/tree.h"
#include "text/edit_distance.h"

#ifndef AEGIS_VERSION
#define AEGIS_VERSION "0.1.0"
#endif

namespace aegis::cli {
namespace {

constexpr std::size_t kHelpColumns = 100;
constexpr std::size_t kPipedColumns = 80;

void addGlobalFlags(CLI::App& app, GlobalFlags& flags) {
    app.add_option("--config", flags.config, "Node configuration (default ./aegis-config.yaml)");
    app.add_option("--daemon-addr", flags.daemon_addr,
                   "The daemon to talk to, https:// and unix:// too (default $AEGIS_DAEMON_ADDR, "
                   "else localhost:9090)");
    app.add_option("--token", flags.token, "Bearer token (default $AEGIS_TOKEN)");
    app.add_option("-o,--output", flags.output, "Output format (default table)")
        ->check(CLI::IsMember({"json", "table", "yaml"}));
    app.add_flag("-y,--yes", flags.yes, "Skip confirmation prompts");
    app.add_flag("--no-color", flags.no_color, "No colours ($NO_COLOR too)");
    app.add_flag("--debug", flags.debug, "Requests, their status and time on stderr");
}

/// Global flags may stand before and after any subcommand.
void inherit(CLI::App* app) {
    app->set_help_flag("-h,--help", "Help of a command");
    for (auto* sub : app->get_subcommands({})) {
        sub->fallthrough();
        inherit(sub);
    }
}

/// The deepest subcommand that was named, for help and hints.
CLI::App* deepest(CLI::App* app) {
    for (auto* sub : app->get_subcommands())
        return deepest(sub);
    return app;
}

/// The first word that nothing took; flags come first, for what follows one may be its value.
std::string wrongWord(const CLI::App& app) {
    std::string wrong;
    for (const auto& word : app.remaining(true)) {
        bool flag = word.starts_with('-') && word != "-" && word != "--";
        if (flag) return word;
        if (wrong.empty()) wrong = word;
    }
    return wrong;
}

std::vector<std::string> commandNames(const CLI::App& app) {
    std::vector<std::string> names;
    for (const auto* sub : commandsOf(app))
        names.push_back(sub->get_name());
    return names;
}

/// What was meant by `word`: what it is the beginning of, else what is spelt nearly so.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& names) {
    auto dashes = std::min(word.find_first_not_of('-'), word.size());
    auto length = word.size() - dashes;
    if (length == 0) return std::nullopt;
    for (const auto& name : names) {
        if (length > 1 && name.starts_with(word)) return name;
    }
    return text::closest(word, names, length < 5 ? 1 : length < 8 ? 2 : 3);
}

/// "did you mean list?", else all there are, else where to look.
std::string commandHint(const CLI::App& at, const std::string& wrong) {
    auto names = commandNames(at);
    if (auto near = nearest(wrong, names)) return fmt::format("did you mean {}?", *near);
    if (!wrong.empty() && at.get_parent() != nullptr) {
        // A word in the wrong place: "aegis agent execute".
        auto top = commandNames(rootOf(at));
        if (std::ranges::find(top, wrong) != top.end())
            return fmt::format("did you mean {} {}?", rootOf(at).get_name(), wrong);
    }
    if (at.get_parent() == nullptr) return fmt::format("see: {} --help", pathOf(at));
    std::string all;
    for (const auto& name : names)
        all += (all.empty() ? "" : ", ") + name;
    return "one of " + all;
}

Error flagError(const CLI::App& at, std::string flag) {
    flag = flag.substr(0, flag.find('='));
    std::vector<std::string> names;
    for (const auto* source : {&at, &rootOf(at)}) {
        for (const auto* option : flagsOf(*source))
            for (const auto& name : option->get_lnames())
                names.push_back("--" + name);
    }
    auto near = nearest(flag, names);
    return {
        ErrorCode::kInvalid, fmt::format("unknown flag {}", flag),
        near ? fmt::format("did you mean {}?", *near) : fmt::format("see: {} --help", pathOf(at))};
}

/// The flag or argument that a message of the parser begins with: "--status: …".
const CLI::Option* optionOf(const CLI::App& at, std::string_view message) {
    auto name = std::string(message.substr(0, message.find(':')));
    for (const auto* source : {&at, &rootOf(at)}) {
        for (const auto* option : source->get_options()) {
            if (option->check_name(name)) return option;
        }
    }
    return nullptr;
}

/// A value that is missing, or none of the words that there are.
std::optional<Error> valueError(const CLI::App& at, std::string_view message) {
    const auto* option = optionOf(at, message);
    if (option == nullptr) return std::nullopt;
    auto info = valueOf(at, *option);
    auto name = message.substr(0, message.find(':'));
    std::string words;
    for (const auto& word : info.words)
        words += (words.empty() ? "" : ", ") + word;
    if (message.ends_with(" missing")) {
        return Error(ErrorCode::kInvalid, fmt::format("{} needs a value", name),
                     words.empty() ? fmt::format("expected {}", info.placeholder)
                                   : fmt::format("one of {}", words));
    }
    auto end = message.rfind(" not in {");
    if (end == std::string_view::npos || info.words.empty()) return std::nullopt;
    auto given = message.substr(name.size() + 2, end - name.size() - 2);
    auto near = nearest(given, info.words);
    return Error(
        ErrorCode::kInvalid, fmt::format("{}: \"{}\" is none of {}", name, given, words),
        near ? fmt::format("did you mean {}?", *near) : fmt::format("see: {} --help", pathOf(at)));
}

Error usageError(CLI::App& app, const CLI::ParseError& e) {
    const auto& at = *deepest(&app);
    bool group = !commandsOf(at).empty();
    // Words fall through to the top, so only there all of them are found.
    auto wrong = wrongWord(app);
    if (wrong.starts_with('-')) return flagError(at, wrong);
    if (group && !wrong.empty())
        return {ErrorCode::kInvalid, fmt::format("unknown command \"{}\"", wrong),
                commandHint(at, wrong)};
    if (group && dynamic_cast<const CLI::RequiredError*>(&e) != nullptr)
        return {ErrorCode::kInvalid, fmt::format("{} needs a command", pathOf(at)),
                commandHint(at, "")};
    auto see = fmt::format("see: {} --help", pathOf(at));
    if (!wrong.empty())
        return {ErrorCode::kInvalid, fmt::format("unexpected argument \"{}\"", wrong), see};
    if (auto of_value = valueError(at, e.what())) return *of_value;
    return {ErrorCode::kInvalid, e.what(), see};
}

/// The flags that say how to print, for errors of the command line itself: parsing stops at those.
void scanPrintingFlags(const std::vector<std::string>& words, GlobalFlags& flags) {
    for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
        const auto& word = words[i];
        std::string given;
        if ((word == "-o" || word == "--output") && i + 1 < words.size()) given = words[i + 1];
        if (word.starts_with("--output=")) given = word.substr(9);
        if (word.starts_with("-o") && word.size() > 2) given = word.substr(2);
        if (given == "json" || given == "yaml") flags.output = given;
        if (word == "--no-color") flags.no_color = true;
    }
}

std::string envOr(const char* name, std::string fallback) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : std::move(fallback);
}

/// What the flags and the environment give together.
void resolve(Context& context) {
    auto& flags = context.flags;
    std::string_view from = "--daemon-addr";
    if (flags.daemon_addr.empty()) {
        flags.daemon_addr = envOr("AEGIS_DAEMON_ADDR", "");
        from = "$AEGIS_DAEMON_ADDR";
    }
    if (flags.daemon_addr.empty()) {
        flags.daemon_addr = "localhost:9090";
        from = "the default";
    }
    if (flags.token.empty()) flags.token = envOr("AEGIS_TOKEN", "");
    context.debug(fmt::format("aegis {}, daemon {} ({}), {}", AEGIS_VERSION, flags.daemon_addr,
                              from, flags.token.empty() ? "no token" : "with a token"));
}

int printHelp(Context& context, const CLI::App& command) {
    auto width = static_cast<std::size_t>(std::max(context.width(), 0));
    width = width == 0 ? kPipedColumns : std::min(width, kHelpColumns);
    context.print(helpText(command, width, context.color()));
    return 0;
}

/// `aegis help agent deploy`
void addHelpCommand(CLI::App& app, Context& context) {
    auto words = std::make_shared<std::vector<std::string>>();
    auto* command = app.add_subcommand("help", "Show the help of a command");
    command->add_option("command", *words, "Its words");
    command->callback([&app, &context, words] {
        context.action = [&app, &context, words] {
            const CLI::App* at = &app;
            for (const auto& word : *words) {
                auto subs = commandsOf(*at);
                auto found = std::ranges::find(subs, word,
                                               [](const CLI::App* sub) { return sub->get_name(); });
                if (found == subs.end())
                    return context.fail({ErrorCode::kInvalid,
                                         fmt::format("unknown command \"{}\"", word),
                                         commandHint(*at, word)});
                at = *found;
            }
            return printHelp(context, *at);
        };
    });
}

}  // namespace

void buildTree(CLI::App& app, Context& context, const NodeCommands& node) {
    app.set_version_flag("--version", std::string("aegis ") + AEGIS_VERSION, "Show the version");
    app.require_subcommand(1);
    app.option_defaults()->always_capture_default(false);
    addGlobalFlags(app, context.flags);
    addAgentCommands(app, context);
    addExecuteCommand(app, context);
    addExecutionCommands(app, context);
    addExportCommand(*app.get_subcommand("execution"), context);
    addReplayCommand(*app.get_subcommand("execution"), context, node);
    addEventsCommand(app, context);
    addVolumeCommands(app, context);
    addNodeCommands(app, context, node);
    addShellCommands(app, context, node);
    addHelpCommand(app, context);
    inherit(&app);
}

int runApp(int argc, char** argv, Clock& clock, Context::ServiceFactory factory,
           const NodeCommands& node) {
    std::signal(SIGPIPE, SIG_IGN);
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    CLI::App app("AEGIS runs autonomous agents under control.", "aegis");
    Context context(clock, std::move(factory));
    buildTree(app, context, node);
    if (auto code = runHidden(app, context, words, AEGIS_VERSION)) return *code;
    if (words.empty()) return printHelp(context, app);
    scanPrintingFlags(words, context.flags);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        return printHelp(context, *deepest(&app));
    } catch (const CLI::CallForVersion&) {
        context.print(std::string("aegis ") + AEGIS_VERSION + "\n");
        return 0;
    } catch (const CLI::ParseError& e) {
        return context.fail(usageError(app, e));
    }
    resolve(context);
    return context.action();
}

}  // namespace aegis::cli
