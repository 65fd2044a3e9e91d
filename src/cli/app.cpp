#include "cli/app.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>

#include "cli/commands.h"
#include "text/edit_distance.h"

#ifndef AEGIS_VERSION
#define AEGIS_VERSION "0.1.0"
#endif

namespace aegis::cli {
namespace {

std::string envOr(const char* name, std::string fallback) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : std::move(fallback);
}

void addGlobalFlags(CLI::App& app, GlobalFlags& flags) {
    app.add_option("--config", flags.config, "Node configuration (default ./aegis-config.yaml)")
        ->type_name("<path>");
    app.add_option("--daemon-addr", flags.daemon_addr,
                   "The daemon to talk to (default $AEGIS_DAEMON_ADDR, else localhost:9090)")
        ->type_name("<host:port>");
    app.add_option("--token", flags.token, "Bearer token (default $AEGIS_TOKEN)")->type_name("<t>");
    app.add_option("-o,--output", flags.output, "Output format")
        ->type_name("json|table|yaml")
        ->check(CLI::IsMember({"json", "table", "yaml"}));
    app.add_flag("-y,--yes", flags.yes, "Skip confirmation prompts");
    app.add_flag("--no-color", flags.no_color, "No colours");
    app.add_flag("--debug", flags.debug, "Verbose diagnostics on stderr");
}

/// Global flags may stand before and after any subcommand.
void inherit(CLI::App* app) {
    for (auto* sub : app->get_subcommands({})) {
        sub->fallthrough();
        inherit(sub);
    }
}

/// The deepest subcommand that was named, for hints.
CLI::App* deepest(CLI::App* app) {
    for (auto* sub : app->get_subcommands()) return deepest(sub);
    return app;
}

/// "aegis agent deploy": what was typed to reach a command.
std::string pathOf(const CLI::App* app) {
    const auto* parent = app->get_parent();
    return parent == nullptr ? app->get_name() : pathOf(parent) + " " + app->get_name();
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

Error usageError(CLI::App& app, const CLI::ParseError& e) {
    auto* at = deepest(&app);
    Error error(ErrorCode::kInvalid, e.what());
    std::vector<std::string> names;
    bool group = !at->get_subcommands({}).empty();
    // Words fall through to the top, so only there all of them are found.
    auto wrong = wrongWord(app);
    if (wrong.starts_with('-')) {
        wrong = wrong.substr(0, wrong.find('='));
        error.message = fmt::format("unknown flag {}", wrong);
        for (const auto* source :
             {static_cast<const CLI::App*>(at), static_cast<const CLI::App*>(&app)})
            for (const auto* option : source->get_options())
                for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    } else if (!wrong.empty()) {
        error.message = group ? fmt::format("unknown command \"{}\"", wrong)
                              : fmt::format("unexpected argument \"{}\"", wrong);
        for (const auto* sub : at->get_subcommands({})) names.push_back(sub->get_name());
    } else if (group) {
        error.message = fmt::format("{} needs a command", pathOf(at));
    }
    if (auto near = text::closest(wrong, names, 3))
        error.hint = fmt::format("did you mean {}?", *near);
    else
        error.hint = fmt::format("see: {} --help", pathOf(at));
    return error;
}

}  // namespace

int runApp(int argc, char** argv, Clock& clock, Context::ServiceFactory factory,
           const NodeCommands& node) {
    std::signal(SIGPIPE, SIG_IGN);
    CLI::App app("AEGIS runs autonomous agents under control.", "aegis");
    Context context(clock, std::move(factory));
    app.set_version_flag("--version", std::string("aegis ") + AEGIS_VERSION);
    app.require_subcommand(1);
    app.option_defaults()->always_capture_default(false);
    addGlobalFlags(app, context.flags);
    addAgentCommands(app, context);
    addExecuteCommand(app, context);
    addExecutionCommands(app, context);
    addVolumeCommands(app, context);
    addNodeCommands(app, context, node);
    inherit(&app);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        context.print(app.help());
        return 0;
    } catch (const CLI::CallForVersion&) {
        context.print(std::string("aegis ") + AEGIS_VERSION + "\n");
        return 0;
    } catch (const CLI::ParseError& e) {
        return context.fail(usageError(app, e));
    }
    auto& flags = context.flags;
    if (flags.daemon_addr.empty()) flags.daemon_addr = envOr("AEGIS_DAEMON_ADDR", "localhost:9090");
    if (flags.token.empty()) flags.token = envOr("AEGIS_TOKEN", "");
    if (!context.action) {
        context.print(app.help());
        return 2;
    }
    return context.action();
}

}  // namespace aegis::cli
