// aegis execution logs: what is stored, or with --follow as it comes.

#include "cli/execution_logs.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/patience.h"
#include "cli/watch_lines.h"
#include "os/interrupt.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

struct LogFlags {
    std::string id;
    int iteration = 0;
    bool only_stderr = false;
    bool follow = false;
};

std::string keep(std::string_view text) { return text::escapeControl(text, text::Lines::kKeep); }

std::string toolText(const json::Value& tool) {
    auto reason = json::getString(tool, "reason");
    auto line = "  " + toolCallText(tool, json::getString(tool, "summary"), reason);
    if (reason.empty() && json::getString(tool, "status") == "lost")
        line += " -> lost, the daemon ended";
    return line + "\n";
}

/// What an iteration left behind: output, stdout, stderr, error.
std::string sectionsText(const json::Value& log) {
    std::string out;
    auto section = [&](std::string_view title, std::string_view text) {
        if (text.empty()) return;
        out += fmt::format("--- {} ---\n{}", title, keep(text));
        if (!text.ends_with('\n')) out += '\n';
    };
    auto output = json::getString(log, "output");
    auto standard_output = json::getString(log, "stdout");
    section("output", output);
    // The managed bootstrap prints its final message: once is enough.
    bool same = standard_output == output || standard_output == std::string(output) + "\n";
    if (!same) section("stdout", standard_output);
    section("stderr", json::getString(log, "stderr"));
    if (const auto* error = json::find(log, "error"); error != nullptr && error->is_object())
        section("error", json::getString(*error, "message"));
    return out;
}

std::string logText(const json::Value& log, bool only_stderr) {
    if (only_stderr) return keep(json::getString(log, "stderr"));
    auto out = fmt::format("=== Iteration {} ({}) ===\n", json::getInt(log, "iteration"),
                           json::getString(log, "status"));
    const auto* tools = json::find(log, "tool_calls");
    if (tools != nullptr && tools->is_array())
        for (const auto& tool : tools->get_array())
            out += toolText(tool);
    return out + sectionsText(log);
}

/// Prints the logs of an execution event by event, each line once. Texts come when their iteration
/// ends: that is when the daemon has them.
class LogFollower {
  public:
    LogFollower(Context& context, service::Service& service, const LogFlags& flags)
        : context_(context), service_(service), flags_(flags) {}

    /// False: there is nothing more to come, or it failed.
    bool take(const json::Value& event) {
        auto type = json::getString(event, "type");
        auto iteration = static_cast<int>(json::getInt(event, "iteration"));
        execution_ = json::getString(event, "execution_id", execution_);
        if (!statusOfEvent(type).empty()) {
            close();
            return false;
        }
        if (type == "IterationStarted" && iteration != open_) {
            close();
            if (flags_.iteration != 0 && iteration > flags_.iteration) return false;
            open(iteration);
        } else if (iteration == open_ && open_ != 0) {
            inside(type, event);
        }
        return error_.message.empty();
    }

    /// Of the failure that ended it; empty message: none.
    const Error& error() const { return error_; }
    bool sawIteration() const { return seen_; }

  private:
    bool wanted(int iteration) const {
        return flags_.iteration == 0 || iteration == flags_.iteration;
    }
    bool lines() const { return context_.format() == OutputFormat::kTable && !flags_.only_stderr; }

    void open(int iteration) {
        if (!wanted(iteration)) return;
        open_ = iteration;
        told_ = false;
        if (lines())
            context_.print(fmt::format("{}=== Iteration {} ===\n", seen_ ? "\n" : "", iteration));
        seen_ = true;
    }

    void inside(std::string_view type, const json::Value& event) {
        const auto* data = json::find(event, "data");
        if (data == nullptr) return;
        auto call = json::getInt(*data, "call");
        if (type == "ToolCallStarted") {
            running_[call] = data->as_object();
        } else if (type == "ToolCallCompleted" || type == "ToolCallDenied") {
            auto tool = data->as_object();
            const json::Value started(running_[call]);
            if (json::getString(*data, "summary").empty())
                tool["summary"] = json::getString(started, "summary");
            settle(call, std::move(tool));
        } else if (type == "EffectLost" && json::getString(*data, "effect") == "tool_call") {
            auto tool = running_[call];
            tool["status"] = "lost";
            settle(call, std::move(tool));
        } else if (type == "IterationCompleted" && context_.format() == OutputFormat::kTable) {
            tellTexts();
        }
    }

    void settle(std::int64_t call, json::Object tool) {
        running_.erase(call);
        if (lines()) context_.print(toolText(json::Value(std::move(tool))));
    }

    /// The iteration's log as it is stored now; the error is kept.
    Result<json::Value> stored() {
        auto logs = patiently(context_.clock(), Deadline::never(),
                              [&] { return service_.executionLogs({}, execution_, open_); });
        if (!logs) {
            error_ = logs.error();
            return error_;
        }
        if (!logs->is_array() || logs->get_array().empty()) return json::Value(json::Object{});
        return logs->get_array().front();
    }

    void tellTexts() {
        if (std::exchange(told_, true)) return;
        // Calls that were cut off with their iteration.
        while (!running_.empty())
            settle(running_.begin()->first, running_.begin()->second);
        auto log = stored();
        if (!log) return;
        context_.print(flags_.only_stderr ? keep(json::getString(*log, "stderr"))
                                          : sectionsText(*log));
    }

    void close() {
        if (open_ == 0) return;
        if (context_.format() == OutputFormat::kTable) {
            tellTexts();  // of an iteration that was cut off
        } else if (auto log = stored()) {
            printStreamed(context_, *log);
        }
        open_ = 0;
        running_.clear();
    }

    Context& context_;
    service::Service& service_;
    const LogFlags& flags_;
    std::string execution_;
    int open_ = 0;       ///< the iteration being told; 0: none
    bool told_ = false;  ///< its texts were printed
    bool seen_ = false;
    std::map<std::int64_t, json::Object> running_;  ///< tool calls by number
    Error error_;
};

int follow(Context& context, const LogFlags& flags) {
    os::SignalWatcher watcher({SIGINT}, [](int) { std::_Exit(130); });
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    LogFollower follower(context, *service, flags);
    auto done =
        service->watchExecution({}, flags.id, 0, kPatienceMs,
                                [&](const json::Value& event) { return follower.take(event); });
    if (!done) return context.fail(done.error());
    if (!follower.error().message.empty()) return context.fail(follower.error());
    if (flags.iteration == 0 || follower.sawIteration()) return 0;
    // It ended without that iteration: the daemon says so best.
    auto missing = service->executionLogs({}, flags.id, flags.iteration);
    return missing ? 0 : context.fail(missing.error());
}

int logs(Context& context, const LogFlags& flags) {
    if (flags.follow) return follow(context, flags);
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto result = service->executionLogs({}, flags.id, flags.iteration);
    return show(context, result, [&](const json::Value& all) {
        if (context.format() != OutputFormat::kTable) {
            context.printValue(all);
            return;
        }
        bool first = true;
        for (const auto& log : all.as_array()) {
            if (!std::exchange(first, false) && !flags.only_stderr) context.print("\n");
            context.print(logText(log, flags.only_stderr));
        }
    });
}

}  // namespace

void addLogsCommand(CLI::App& group, Context& context) {
    auto flags = std::make_shared<LogFlags>();
    auto* command = group.add_subcommand("logs", "Show outputs and tool calls of the iterations");
    command->add_option("id", flags->id, "Id, unique prefix, or @last")->required();
    command->add_option("--iteration", flags->iteration, "Only this iteration")
        ->check(CLI::PositiveNumber);
    command->add_flag("-f,--follow", flags->follow, "As it comes, until the end");
    command->add_flag("--stderr", flags->only_stderr, "Only the container's stderr");
    command->callback([&context, flags] {
        context.action = [&context, flags] { return logs(context, *flags); };
    });
}

}  // namespace aegis::cli
