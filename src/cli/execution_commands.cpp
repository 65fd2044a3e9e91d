// aegis execution list | get | logs | watch | wait | cancel

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "base/ids.h"
#include "cli/color.h"
#include "cli/commands.h"
#include "cli/execution_logs.h"
#include "cli/patience.h"
#include "cli/table.h"
#include "cli/watch_lines.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

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
    auto since = parseSince(flags.since, context.clock().utc());
    if (!since) return context.fail(since.error());
    flags.query.since = *since;
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto all = collectPages(flags.query.limit, [&](int limit, const std::string& cursor) {
        flags.query.limit = limit;
        flags.query.cursor = cursor;
        return service->listExecutions({}, flags.query);
    });
    return show(context, all, [&](const json::Value& list) {
        const auto& items = list.get_array();
        if (flags.quiet) {
            for (const auto& item : items)
                context.print(str(item, "id") + "\n");
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
        context.print(table.str(context.width(), context.color()));
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

std::string recordText(const json::Value& record, UtcTime now, bool color) {
    std::string out;
    auto line = [&](std::string_view name, std::string_view value) {
        if (!value.empty()) out += fmt::format("{:<12}{}\n", name, text::escapeControl(value));
    };
    line("Execution:", json::getString(record, "id"));
    line("Agent:", fmt::format("{} (revision {})", str(record, "agent_name"),
                               json::getInt(record, "agent_revision")));
    auto status = json::getString(record, "status");
    out += fmt::format("{:<12}{}\n", "Status:", painted(status, statusColor(status), color));
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
        auto calls = json::getInt(*usage, "calls");
        line("Model:", fmt::format("{} call{}, {} + {} tokens, {} USD", calls,
                                   calls == 1 ? "" : "s", json::getInt(*usage, "prompt_tokens"),
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
            context.print(recordText(record, context.clock().utc(), context.color()));
        else
            context.printValue(record);
    });
}

/// Waits for one execution's end; its exit code, 8 when the time ran out. A daemon that restarts
/// meanwhile is waited for.
Result<int> waitFor(Context& context, service::Service& service, const std::string& id,
                    Deadline deadline) {
    constexpr std::int64_t kPieceMs = 200;
    while (true) {
        AEGIS_TRY(auto record, patiently(context.clock(), deadline,
                                         [&] { return service.getExecution({}, id); }));
        auto status = str(record, "status");
        if (status != "pending" && status != "running") return exitCodeOf(status);
        if (deadline.passed(context.clock().boot())) return kWaitTimedOut;
        if (deadline.isNever()) {
            AEGIS_CHECK(service.watchExecution({}, id, 0, kPatienceMs,
                                               [](const json::Value&) { return true; }));
        } else {
            os::pauseMs(std::min(kPieceMs, deadline.leftMs(context.clock().boot())));
        }
    }
}

int wait(Context& context, const std::vector<std::string>& references, const std::string& timeout) {
    auto deadline = Deadline::never();
    if (!timeout.empty()) {
        auto ms = parseDurationMs(timeout);
        if (!ms)
            return context.fail(
                {ErrorCode::kInvalid,
                 fmt::format("--timeout {}: expected a duration like 30s", timeout)});
        deadline = Deadline::in(context.clock().boot(), *ms);
    }
    os::SignalWatcher watcher({SIGINT}, [](int) { std::_Exit(130); });
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    // All of them first: a misspelt one is told at once, and "@last" stays the one it is now.
    std::vector<std::string> ids;
    for (const auto& reference : references) {
        auto record = service->getExecution({}, reference);
        if (!record) return context.fail(record.error());
        ids.push_back(str(*record, "id"));
    }
    int worst = 0;
    json::Array records;
    for (const auto& id : ids) {
        auto code = waitFor(context, *service, id, deadline);
        if (!code) return context.fail(code.error());
        worst = std::max(worst, *code);
        auto record = patiently(context.clock(), Deadline::never(),
                                [&] { return service->getExecution({}, id); });
        if (!record) return context.fail(record.error());
        if (context.format() == OutputFormat::kTable)
            context.print(fmt::format("Execution {} {}\n", id, str(*record, "status")));
        records.push_back(std::move(*record));
    }
    if (context.format() != OutputFormat::kTable) printNamed(context, records, ids.size());
    if (worst == kWaitTimedOut) context.fail({ErrorCode::kTimeout, "the time ran out"});
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
    if (context.format() != OutputFormat::kTable) printNamed(context, records, ids.size());
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
        ->check(CLI::Range(1, kMostListed));
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
    command->callback(
        [&context, id] { context.action = [&context, id] { return get(context, *id); }; });

    addLogsCommand(*group, context);

    auto cancel_too = std::make_shared<bool>(false);
    command = group->add_subcommand("watch", "Stream an execution's events from the first");
    command->add_option("id", *id, kReference)->required();
    auto* cancel_flag =
        command->add_flag("--cancel-on-interrupt", *cancel_too, "Ctrl-C cancels the execution");
    auto detach = std::make_shared<bool>(false);
    command
        ->add_flag("--detach-on-interrupt", *detach,
                   "Ctrl-C leaves the execution running (default)")
        ->excludes(cancel_flag);
    command->callback([&context, id, cancel_too, detach] {
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
    command->callback(
        [&context, ids] { context.action = [&context, ids] { return cancel(context, *ids); }; });
}

}  // namespace aegis::cli
