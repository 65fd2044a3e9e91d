#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <functional>

#include "cli/context.h"
#include "cli/node_commands.h"

namespace aegis::cli {

// Each adds its commands to the app; a chosen command sets context.action.

void addAgentCommands(CLI::App& app, Context& context);
void addExecuteCommand(CLI::App& app, Context& context);
void addExecutionCommands(CLI::App& app, Context& context);
void addVolumeCommands(CLI::App& app, Context& context);
void addNodeCommands(CLI::App& app, Context& context, const NodeCommands& node);

/// Streams an execution to the terminal until it ends or Ctrl-C; the exit code tells how it ended.
struct WatchOptions {
    std::string execution;
    bool cancel_on_interrupt = false;
    bool print_output_hint = false;
};
int watchToEnd(Context& context, const WatchOptions& options);

/// "k=v" pairs from repeated --label flags.
Result<std::map<std::string, std::string>> parseLabels(const std::vector<std::string>& pairs);

/// JSON items of {"items":[…]}; an empty list for anything else.
const json::Array& itemsOf(const json::Value& list);

/// "2m ago"-free short age: "5s", "3m", "2h", "4d".
std::string ageText(std::int64_t ms);

}  // namespace aegis::cli
