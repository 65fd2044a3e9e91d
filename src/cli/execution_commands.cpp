// aegis execution list | get | logs | watch | wait | cancel

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/ids.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/watch_lines.h"
#include "os/clock.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

constexpr std::int64_t kPatienceMs = 60'000;
constexpr int kWaitTimedOut = 8;

std::string str(const json::Value& record, std::string_view key) {
    return std::string(json::getString(record, key));
}

std::string keep(std::string_view text) { return text::escapeControl(text, text::Lines::kKeep); }

/// A text of several lines, each behind `margin`.
std::string indented(std::string_view text, std::string_view margin = "    ") {
    std::string out;
    while (!text.empty()) {
        auto end = text.find('\n');
        out += fmt::format("{}{}\n", margin, keep(text.substr(0, end)));
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
    }
    return out;
}

struct ListFlags {
    service::ListExecutions query;
    std::string since;
    std::vector<std::string> labels;
    bool quiet = false;
};

std::string durationOf(const json::Value& item, UtcTime now) {
    const auto* ms = json::find(item, "duration_ms");
    if (ms != nullptr && ms->is_number()) return secondsText(json::getInt(item, "duration_ms"));
    auto started = UtcTime::parse(json::getString(item, "started_at"));
    return started ? secondsText(now.ms - started->ms) : "";
}

int list(Context& context, ListFlags& flags) {
    auto labels = parseLabels(flags.labels);
    if (!labels) return context.fail(labels.error());
    flags.query.labels = std::move(*labels);
    if (!flags.since.empty()) {
        auto ms = parseDurationMs(flags.since);
        flags.query.since = ms ? std::optional(UtcTime{context.clock().utc().ms - *ms})
                               : UtcTime::parse(flags.since);
        if (!flags.query.since)
            return context.fail({ErrorCode::kInvalid,
                                 fmt::format("--since {}: expected a duration like 1h or a time",
                                             flags.since)});
    }
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    return show(context, service->listExecutions({}, flags.query), [&](const json::Value& page) {
        const auto& items = itemsOf(page);
        if (flags.quiet) {
            for (const auto& item : items) context.print(str(item, "id") + "\n");
            return;
        }
        if (context.format() != OutputFormat::kTable) {
            context.printValue(json::Value(items));
            return;
        }
        Table table({"ID", "AGENT", "STATUS", "ITERATIONS", "STARTED", "DURATION"});
        for (const auto& item : items) {
            auto started = UtcTime::parse(json::getString(item, "started_at"));
            table.row({shortId(str(item, "id")), str(item, "agent_name"), str(item, "status"),
                       fmt::format("{}/{}", json::getInt(item, "total_iterations"),
                                   json::getInt(item, "max_iterations")),
                       started ? started->rfc3339Seconds() : "",
                       durationOf(item, context.clock().utc())});
        }
        context.print(table.str(context.width()));
    });
}

std::string validationText(const json::Value& iteration) {
    const auto* validation = json::find(iteration, "validation");
    const auto* results = validation == nullptr ? nullptr : json::find(*validation, "results");
    if (results == nullptr || !results->is_array()) return "";
    std::string out;
    for (const auto& result : results->get_array()) {
        const auto* score = json::find(result, "score");
        out += fmt::format("    {}={} (score {})\n", str(result, "validator"),
                           json::getBool(result, "passed") ? "PASS" : "FAIL",
                           score == nullptr ? "?" : json::dump(*score));
        auto detail = json::getString(result, "detail");
        if (!detail.empty()) out += indented(detail, "      ");
    }
    return out;
}

std::string recordText(const json::Value& record, UtcTime now) {
    std::string out;
    auto line = [&](std::string_view name, std::string_view value) {
        if (!value.empty()) out += fmt::format("{:<12}{}\n", name, text::escapeControl(value));
    };
    line("Execution:", json::getString(record, "id"));
    line("Agent:", fmt::format("{} (revision {})", str(record, "agent_name"),
                               json::getInt(record, "agent_revision")));
    line("Status:", json::getString(record, "status"));
    if (const auto* error = json::find(record, "error"); error != nullptr && error->is_object())
        line("Error:", fmt::format("{}: {}", str(*error, "code"), str(*error, "message")));
    line("Created:", json::getString(record, "created_at"));
    line("Started:", json::getString(record, "started_at"));
    line("Ended:", json::getString(record, "ended_at"));
    line("Duration:", durationOf(record, now));
    line("Iterations:", fmt::format("{} of at most {}", json::getInt(record, "total_iterations"),
                                    json::getInt(record, "max_iterations")));
    if (const auto* usage = json::find(record, "usage")) {
        const auto* cost = json::find(*usage, "cost_usd");
        line("Model:",
             fmt::format("{} calls, {} + {} tokens, {} USD", json::getInt(*usage, "calls"),
                         json::getInt(*usage, "prompt_tokens"),
                         json::getInt(*usage, "completion_tokens"),
                         cost == nullptr ? "0" : json::dump(*cost)));
    }
    const auto* iterations = json::find(record, "iterations");
    if (iterations != nullptr && iterations->is_array()) {
        for (const auto& it : iterations->get_array()) {
            out += fmt::format("\nIteration {}: {}, {}\n", json::getInt(it, "number"),
                               str(it, "status"), durationOf(it, now));
            if (const auto* error = json::find(it, "error"); error != nullptr && error->is_object())
                out += "    " + text::escapeControl(json::getString(*error, "message")) + "\n";
            out += validationText(it);
        }
    }
    if (auto output = json::getString(record, "output"); !output.empty())
        out += "\nOutput:\n" + indented(output);
    return out;
}

int get(Context& context, const std::string& id) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    return show(context, service->getExecution({}, id), [&](const json::Value& record) {
        if (context.format() == OutputFormat::kTable)
            context.print(recordText(record, context.clock().utc()));
        else
            context.printValue(record);
    });
}

std::string toolText(const json::Value& tool) {
    auto line = "  Tool: " + text::escapeControl(json::getString(tool, "tool"));
    if (auto summary = text::escapeControl(json::getString(tool, "summary")); !summary.empty())
        line += " " + summary;
    const auto* exit_code = json::find(tool, "exit_code");
    bool exited = exit_code != nullptr && exit_code->is_int64();
    if (exited && exit_code->get_int64() != 0)
        line += fmt::format(" -> exit {}", exit_code->get_int64());
    else if (auto reason = json::getString(tool, "reason"); !reason.empty() && !exited)
        line += " -> " + text::escapeControl(reason);
    return line + "\n";
}

std::string logText(const json::Value& log, bool only_stderr) {
    if (only_stderr) return keep(json::getString(log, "stderr"));
    std::string out = fmt::format("=== Iteration {} ({}) ===\n", json::getInt(log, "iteration"),
                                  str(log, "status"));
    const auto* tools = json::find(log, "tool_calls");
    if (tools != nullptr && tools->is_array())
        for (const auto& tool : tools->get_array()) out += toolText(tool);
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

struct LogFlags {
    std::string id;
    int iteration = 0;
    bool only_stderr = false;
};

int logs(Context& context, const LogFlags& flags) {
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

/// Waits for one execution's end; its exit code, 8 when the time ran out.
int waitFor(Context& context, service::Service& service, const std::string& id, Deadline deadline,
            std::string& status) {
    std::uint64_t after = 0;
    constexpr std::int64_t kPieceMs = 200;
    while (true) {
        auto record = service.getExecution({}, id);
        if (!record) return context.fail(record.error());
        status = str(*record, "status");
        if (status != "pending" && status != "running") return exitCodeOf(status);
        if (deadline.passed(context.clock().boot())) return kWaitTimedOut;
        if (deadline.isNever()) {
            auto watched = service.watchExecution({}, id, after, kPatienceMs,
                                                  [](const json::Value&) { return true; });
            if (!watched) return context.fail(watched.error());
        } else {
            os::pauseMs(std::min(kPieceMs, deadline.leftMs(context.clock().boot())));
        }
    }
}

int wait(Context& context, const std::vector<std::string>& ids, const std::string& timeout) {
    auto deadline = Deadline::never();
    if (!timeout.empty()) {
        auto ms = parseDurationMs(timeout);
        if (!ms)
            return context.fail(
                {ErrorCode::kInvalid,
                 fmt::format("--timeout {}: expected a duration like 30s", timeout)});
        deadline = Deadline::in(context.clock().boot(), *ms);
    }
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    int worst = 0;
    json::Array records;
    for (const auto& id : ids) {
        std::string status;
        int code = waitFor(context, *service, id, deadline, status);
        if (status.empty()) return code;
        worst = std::max(worst, code);
        auto record = service->getExecution({}, id);
        if (!record) return context.fail(record.error());
        if (context.format() == OutputFormat::kTable)
            context.print(fmt::format("Execution {} {}\n", str(*record, "id"), status));
        records.push_back(std::move(*record));
    }
    if (context.format() != OutputFormat::kTable)
        context.printValue(records.size() == 1 ? records.front() : json::Value(records));
    if (worst == kWaitTimedOut) context.note("error: the time ran out");
    return worst;
}

int cancel(Context& context, const std::vector<std::string>& ids) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    int worst = 0;
    json::Array records;
    for (const auto& id : ids) {
        auto record = service->cancelExecution({}, id);
        if (!record) {
            worst = std::max(worst, context.fail(record.error()));
            continue;
        }
        if (context.format() == OutputFormat::kTable)
            context.print(fmt::format("Cancelled execution {}\n", str(*record, "id")));
        records.push_back(std::move(*record));
    }
    if (context.format() != OutputFormat::kTable && !records.empty())
        context.printValue(records.size() == 1 ? records.front() : json::Value(records));
    return worst;
}

void addListCommand(CLI::App& group, Context& context) {
    auto flags = std::make_shared<ListFlags>();
    auto* command = group.add_subcommand("list", "List executions, newest first");
    command->add_option("--agent", flags->query.agent, "Only of this agent");
    command->add_option("--status", flags->query.status, "Only with this status")
        ->check(CLI::IsMember({"pending", "running", "completed", "failed", "cancelled"}));
    command->add_option("--since", flags->since, "Created since (1h, or a time)");
    command->add_option("--label", flags->labels, "Only with this label (key=value)");
    command->add_option("--limit", flags->query.limit, "At most so many (default 50)")
        ->check(CLI::Range(1, 1000));
    command->add_flag("-q,--quiet", flags->quiet, "Only ids");
    command->callback([&context, flags] {
        context.action = [&context, flags] { return list(context, *flags); };
    });
}

}  // namespace

void addExecutionCommands(CLI::App& app, Context& context) {
    auto* group = app.add_subcommand("execution", "Inspect and control executions");
    group->require_subcommand(1);
    addListCommand(*group, context);
    const char* const kReference = "Id, unique prefix, or @last";

    auto id = std::make_shared<std::string>();
    auto* command = group->add_subcommand("get", "Show an execution");
    command->add_option("id", *id, kReference)->required();
    command->callback([&context, id] {
        context.action = [&context, id] { return get(context, *id); };
    });

    auto log_flags = std::make_shared<LogFlags>();
    command = group->add_subcommand("logs", "Show outputs and tool calls of the iterations");
    command->add_option("id", log_flags->id, kReference)->required();
    command->add_option("--iteration", log_flags->iteration, "Only this iteration")
        ->check(CLI::PositiveNumber);
    command->add_flag("--stderr", log_flags->only_stderr, "Only the container's stderr");
    command->callback([&context, log_flags] {
        context.action = [&context, log_flags] { return logs(context, *log_flags); };
    });

    auto cancel_too = std::make_shared<bool>(false);
    command = group->add_subcommand("watch", "Stream an execution's events from the first");
    command->add_option("id", *id, kReference)->required();
    command->add_flag("--cancel-on-interrupt", *cancel_too, "Ctrl-C cancels the execution");
    command->callback([&context, id, cancel_too] {
        context.action = [&context, id, cancel_too] {
            return watchToEnd(context, {*id, *cancel_too, false});
        };
    });

    auto ids = std::make_shared<std::vector<std::string>>();
    auto timeout = std::make_shared<std::string>();
    command = group->add_subcommand("wait", "Block until executions end");
    command->add_option("id", *ids, kReference)->required();
    command->add_option("--timeout", *timeout, "Give up after (exit 8)");
    command->callback([&context, ids, timeout] {
        context.action = [&context, ids, timeout] { return wait(context, *ids, *timeout); };
    });

    command = group->add_subcommand("cancel", "Stop executions");
    command->add_option("id", *ids, kReference)->required();
    command->callback([&context, ids] {
        context.action = [&context, ids] { return cancel(context, *ids); };
    });
}

}  // namespace aegis::cli
