// aegis execute and run, and the watching of an execution.

#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "cli/agent_files.h"
#include "cli/commands.h"
#include "cli/manifest_files.h"
#include "cli/patience.h"
#include "cli/watch_lines.h"
#include "os/files.h"
#include "os/interrupt.h"
#include "text/yaml.h"

namespace aegis::cli {
namespace {

constexpr std::uint64_t kMaxInputBytes = 8U << 20U;

struct Flags {
    std::string agent, input, model, timeout, idempotency_key;
    std::vector<std::string> labels;
    int max_iterations = 0;
    double budget_usd = 0;
    bool budget_usd_given = false;
    bool input_given = false;
    bool watch = false;
    bool cancel_on_interrupt = false;
    bool detach_on_interrupt = false;
};

/// The exact text of --input: itself, "@file", or "-" for stdin.
Result<std::string> readInput(const std::string& given) {
    bool from_file = given.starts_with('@');
    if (given == "@")
        return Error(ErrorCode::kInvalid, "--input @: expected the name of a file after it");
    auto text = given == "-" ? os::readAll(0, kMaxInputBytes, "stdin")
                : from_file  ? os::readFile(given.substr(1), kMaxInputBytes)
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
    if (flags.budget_usd_given) request.budget.usd = flags.budget_usd;
    AEGIS_TRY(request.labels, parseLabels(flags.labels));
    return request;
}

int start(Context& context, const Flags& flags, const service::ExecuteRequest& request) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto record = service->execute({}, request);
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

int execute(Context& context, const Flags& flags) {
    if (flags.agent.empty())
        return context.fail({ErrorCode::kInvalid, "--agent: \"\" is no name and no id"});
    auto request = requestOf(flags);
    if (!request) return context.fail(request.error());
    return start(context, flags, *request);
}

/// The one manifest of `path`. How many documents there are is found here: nothing may be deployed
/// of a file that holds several.
Result<std::vector<service::ManifestFile>> oneManifest(const std::string& path) {
    AEGIS_TRY(auto files, readManifests({path}));
    std::size_t count = files.size();
    if (count == 1) {
        auto documents = yaml::parse(files.front().text);
        if (documents) count = documents->size();  // what is no YAML the daemon explains
    }
    if (count > 1)
        return {ErrorCode::kInvalid,
                fmt::format("{}: run takes one agent, here are {}", path, count),
                "deploy them with aegis agent deploy, then aegis execute --agent"};
    return files;
}

/// Deploys the file under its name, if it changed, and executes it.
int run(Context& context, const std::string& path, Flags& flags) {
    if (path == "-" && flags.input == "-")
        return context.fail({ErrorCode::kInvalid, "stdin cannot be both manifest and --input"});
    auto files = oneManifest(path);
    if (!files) return context.fail(files.error());
    // Before anything is stored: an input that is no JSON must not deploy.
    auto request = requestOf(flags);
    if (!request) return context.fail(request.error());
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto deployed = service->deploy({}, *files, false);
    if (!deployed) return context.fail(deployed.error());
    const auto& items = itemsOf(*deployed);
    if (items.size() != 1)
        return context.fail({ErrorCode::kInvalid, fmt::format("{}: holds no agent", path)});
    printDeployWarnings(context, items);
    const auto& agent = items.front();
    if (json::getString(agent, "result") != "unchanged")
        context.note(fmt::format("Deployed agent \"{}\" (id: {}), revision {}",
                                 json::getString(agent, "name"), json::getString(agent, "id"),
                                 json::getInt(agent, "revision")));
    request->agent = json::getString(agent, "id");
    flags.watch = true;
    return start(context, flags, *request);
}

/// The flags that execute and run share.
void addExecuteFlags(CLI::App& command, const std::shared_ptr<Flags>& flags) {
    command.add_option("--input", flags->input, "JSON, @file, or - for stdin")
        ->each([flags](const std::string&) { flags->input_given = true; });
    command.add_option("--max-iterations", flags->max_iterations, "Override the manifest's limit")
        ->check(CLI::Range(1, 100));
    command.add_option("--model", flags->model, "A model alias");
    command.add_option("--label", flags->labels, "Label the execution (key=value)");
    command.add_option("--idempotency-key", flags->idempotency_key,
                       "The same key starts it only once");
    command.add_option("--timeout", flags->timeout, "Wall clock for the whole execution");
    command.add_option("--budget-usd", flags->budget_usd, "The most its model calls may cost")
        ->type_name("<usd>")
        ->check(CLI::Validator(
            [](const std::string& text) {
                double usd = -1;
                bool good = CLI::detail::lexical_cast(text, usd) && usd >= 0 && std::isfinite(usd);
                return good ? std::string() : fmt::format("\"{}\" is no amount", text);
            },
            ""))
        ->each([flags](const std::string&) { flags->budget_usd_given = true; });
    auto* cancel = command.add_flag("--cancel-on-interrupt", flags->cancel_on_interrupt,
                                    "Ctrl-C cancels the execution");
    command
        .add_flag("--detach-on-interrupt", flags->detach_on_interrupt,
                  "Ctrl-C leaves the execution running (default)")
        ->excludes(cancel);
}

}  // namespace

int watchToEnd(Context& context, const WatchOptions& options) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    std::atomic<bool> interrupted = false;
    auto on_interrupt = [&](int) {
        bool second = interrupted.exchange(true);
        if (!options.cancel_on_interrupt || second) {
            context.note("");
            context.note("Detached; the execution goes on.");
            context.note("  watch:  aegis execution watch " + options.execution);
            context.note("  cancel: aegis execution cancel " + options.execution);
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
    WatchLines lines(context.color());
    std::string status;
    std::string id = options.execution;
    auto ended = service->watchExecution({}, options.execution, 0, kPatienceMs,
                                         [&](const json::Value& event) {
                                             if (context.format() == OutputFormat::kTable)
                                                 context.print(lines.add(event));
                                             else
                                                 printStreamed(context, event);
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
    command->add_flag("--watch", flags->watch, "Stream events until it ends");
    addExecuteFlags(*command, flags);
    command->callback([&context, flags] {
        context.action = [&context, flags] { return execute(context, *flags); };
    });

    auto path = std::make_shared<std::string>();
    auto run_flags = std::make_shared<Flags>();
    command = app.add_subcommand("run", "Deploy a manifest if it changed, execute it and watch");
    command->add_option("manifest", *path, "A manifest file, or - for stdin")->required();
    command->add_flag("--watch", run_flags->watch, "Always on");
    addExecuteFlags(*command, run_flags);
    command->callback([&context, path, run_flags] {
        context.action = [&context, path, run_flags] { return run(context, *path, *run_flags); };
    });
}

}  // namespace aegis::cli
