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
/// Into the group that addExecutionCommands made.
void addExportCommand(CLI::App& group, Context& context);
void addReplayCommand(CLI::App& group, Context& context, const NodeCommands& node);
void addEventsCommand(CLI::App& app, Context& context);
void addVolumeCommands(CLI::App& app, Context& context);
void addNodeCommands(CLI::App& app, Context& context, const NodeCommands& node);
void addShellCommands(CLI::App& app, Context& context, const NodeCommands& node);

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

/// The most that --limit of a list takes.
inline constexpr int kMostListed = 1'000'000;

/// The items of as many pages as it takes, one array: at most `limit` (0: all of them). `page` is
/// called with the limit of a page (0 as above) and a cursor.
using PageSource = std::function<Result<json::Value>(int limit, const std::string& cursor)>;
Result<json::Value> collectPages(int limit, const PageSource& page);

/// --since: a duration back from now ("1h"), or an RFC 3339 UTC time.
Result<std::optional<UtcTime>> parseSince(const std::string& text, UtcTime now);

/// The records of a command on `named` things, as JSON or YAML: an array unless one was named.
/// Nothing if that one failed.
void printNamed(const Context& context, const json::Array& records, std::size_t named);

/// A record of a stream: one JSON object a line, or one YAML document. Not for tables.
void printStreamed(const Context& context, const json::Value& record);

/// "2m ago"-free short age: "5s", "3m", "2h", "4d".
std::string ageText(std::int64_t ms);

}  // namespace aegis::cli
