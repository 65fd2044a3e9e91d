// aegis execute, and the watching of an execution.

#include <fmt/format.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "cli/commands.h"
#include "cli/watch_lines.h"
#include "os/files.h"
#include "os/interrupt.h"

namespace aegis::cli {
namespace {

constexpr std::uint64_t kMaxInputBytes = 8U << 20U;
constexpr std::int64_t kPatienceMs = 60'000;

struct Flags {
    std::string agent, input, model, timeout, idempotency_key;
    std::vector<std::string> labels;
    int max_iterations = 0;
    bool input_given = false;
    bool watch = false;
    bool cancel_on_interrupt = false;
    bool detach_on_interrupt = false;
};

/// The exact text of --input: itself, "@file", or "-" for stdin.
Result<std::string> readInput(const std::string& given) {
    bool from_file = given.starts_with('@');
    auto text = given == "-"  ? os::readAll(0, kMaxInputBytes, "stdin")
                : from_file   ? os::readFile(given.substr(1), kMaxInputBytes)
                              : Result<std::string>(given);
    if (!text) return Error(ErrorCode::kInvalid, "--input: " + text.error().message);
    // Checked here as well as there: the position is told without a daemon.
    auto parsed = json::parse(*text, {.max_depth = 1000, .allow_duplicate_keys = true});
    if (!parsed) return std::move(parsed.error()).within("--input");
    return text;
}

Result<service::ExecuteRequest> requestOf(const Flags& flags) {
    service::ExecuteRequest request;
    request.agent = flags.agent;
    request.model = flags.model;
    request.idempotency_key = flags.idempotency_key;
    if (flags.input_given) {
        AEGIS_TRY(request.input, readInput(flags.input));
    }
    if (flags.max_iterations != 0) request.max_iterations = flags.max_iterations;
    if (!flags.timeout.empty()) {
        request.timeout_ms = parseDurationMs(flags.timeout);
        if (!request.timeout_ms)
            return Error(ErrorCode::kInvalid,
                         fmt::format("--timeout {}: expected a duration like 30s", flags.timeout));
    }
    AEGIS_TRY(request.labels, parseLabels(flags.labels));
    return request;
}

int execute(Context& context, const Flags& flags) {
    auto request = requestOf(flags);
    if (!request) return context.fail(request.error());
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto record = service->execute({}, *request);
    if (!record) return context.fail(record.error());
    std::string id(json::getString(*record, "id"));
    auto started = fmt::format("Execution started: {}", id);
    if (flags.watch) {
        context.note(started);
        return watchToEnd(context, {id, flags.cancel_on_interrupt, true});
    }
    if (context.format() == OutputFormat::kTable)
        context.print(started + "\n");
    else
        context.printValue(*record);
    return 0;
}

}  // namespace

int watchToEnd(Context& context, const WatchOptions& options) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    std::atomic<bool> interrupted = false;
    auto on_interrupt = [&](int) {
        bool second = interrupted.exchange(true);
        if (!options.cancel_on_interrupt || second) {
            context.note(fmt::format("\nDetached; the execution goes on.\n"
                                     "  watch:  aegis execution watch {0}\n"
                                     "  cancel: aegis execution cancel {0}",
                                     options.execution));
            std::_Exit(130);
        }
        context.note("Cancelling; once more to detach");
        // A connection of its own: the other one is in the middle of the stream.
        Context own(context);
        if (auto* other = own.service())
            if (auto done = other->cancelExecution({}, options.execution); !done)
                context.fail(done.error());
    };
    os::SignalWatcher watcher({SIGINT}, on_interrupt);
    WatchLines lines;
    std::string status;
    std::string id = options.execution;
    auto ended = service->watchExecution(
        {}, options.execution, 0, kPatienceMs, [&](const json::Value& event) {
            if (context.format() == OutputFormat::kTable)
                context.print(lines.add(event));
            else
                context.print(json::dump(event) + "\n");
            id = json::getString(event, "execution_id", id);
            status = statusOfEvent(json::getString(event, "type"));
            return true;
        });
    if (!ended) return context.fail(ended.error());
    if (options.print_output_hint && context.format() == OutputFormat::kTable)
        context.note(fmt::format("Output: aegis execution logs {}", id));
    return exitCodeOf(status);
}

void addExecuteCommand(CLI::App& app, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* command = app.add_subcommand("execute", "Start an execution of an agent");
    command->add_option("--agent", flags->agent, "Name, id or unique id prefix")->required();
    auto* input = command->add_option("--input", flags->input, "JSON, @file, or - for stdin");
    command->add_flag("--watch", flags->watch, "Stream events until it ends");
    command->add_option("--max-iterations", flags->max_iterations, "Override the manifest's limit")
        ->check(CLI::Range(1, 100));
    command->add_option("--model", flags->model, "A model alias");
    command->add_option("--label", flags->labels, "Label the execution (key=value)");
    command->add_option("--idempotency-key", flags->idempotency_key,
                        "The same key starts it only once");
    command->add_option("--timeout", flags->timeout, "Wall clock for the whole execution");
    auto* cancel = command->add_flag("--cancel-on-interrupt", flags->cancel_on_interrupt,
                                     "Ctrl-C cancels the execution");
    command->add_flag("--detach-on-interrupt", flags->detach_on_interrupt,
                      "Ctrl-C leaves the execution running (default)")
        ->excludes(cancel);
    command->callback([&context, flags, input] {
        flags->input_given = input->count() > 0;
        context.action = [&context, flags] { return execute(context, *flags); };
    });
}

}  // namespace aegis::cli
