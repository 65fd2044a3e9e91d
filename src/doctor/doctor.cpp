#include "doctor/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "text/escape.h"

namespace aegis::doctor {
namespace {

struct Task {
    std::string name;
    bool essential = true;
    std::function<Findings(Machine&, const Subject&)> run;
};

std::vector<Task> tasksFor(const Subject& subject) {
    std::vector<Task> tasks{{"system", true, checkSystem},
                            {"configuration", true, checkConfiguration},
                            {"container engine", subject.docker_needed, checkEngine},
                            {"base image", false, checkImages},
                            {"cgroups", true, checkCgroups},
                            {"sandboxing", true, checkSandboxing},
                            {"volumes", true, checkVolumes},
                            {"data directory", true, checkStorage},
                            {"open files", true, checkLimits},
                            {"clock", true, checkClock},
                            {"daemon", false, checkDaemon}};
    for (const auto& provider : subject.config.llm.providers)
        tasks.push_back(
            {"provider " + provider.name, false, [provider](Machine& machine, const Subject&) {
                 return checkProvider(machine, provider);
             }});
    tasks.push_back({"provider", false, checkNoProvider});
    return tasks;
}

/// What the checks' threads share with the one that waits.
struct Board {
    std::shared_ptr<Machine> machine;  // shared with each check's thread
    Subject subject;
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::optional<Findings>> results;  // guarded by mutex
    std::size_t open = 0;                          // guarded by mutex
};

void run(const std::shared_ptr<Board>& board, std::size_t index, const Task& task) {
    auto findings = task.run(*board->machine, board->subject);
    std::lock_guard lock(board->mutex);
    board->results[index] = std::move(findings);
    --board->open;
    board->changed.notify_all();
}

Finding lateFinding(const Task& task, std::int64_t within_ms) {
    return {task.essential ? State::kFail : State::kWarn, task.name,
            fmt::format("no answer within {:.1f} s", static_cast<double>(within_ms) / 1000.0),
            "see what hangs: a disk, a name server, an engine"};
}

std::string_view colorOf(State state) {
    return state == State::kOk ? "\x1b[32m" : state == State::kWarn ? "\x1b[33m" : "\x1b[31m";
}

std::string counted(std::ptrdiff_t count, std::string_view what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

Report examine(std::shared_ptr<Machine> machine, Subject subject, std::int64_t within_ms) {
    const auto tasks = tasksFor(subject);
    auto board = std::make_shared<Board>();
    board->machine = std::move(machine);
    board->subject = std::move(subject);
    board->results.resize(tasks.size());
    board->open = tasks.size();
    for (std::size_t i = 0; i < tasks.size(); ++i)
        std::thread([board, i, task = tasks[i]] { run(board, i, task); }).detach();

    Report report;
    report.version = board->subject.version;
    Findings providers;
    std::unique_lock lock(board->mutex);
    report.late = !board->changed.wait_for(lock, std::chrono::milliseconds(within_ms),
                                           [&] { return board->open == 0; });
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        auto findings = board->results[i].value_or(Findings{lateFinding(tasks[i], within_ms)});
        auto& to = tasks[i].name.starts_with("provider") ? providers : report.findings;
        std::ranges::move(findings, std::back_inserter(to));
    }
    lock.unlock();
    // A configuration that cannot be used says nothing about providers.
    if (!board->subject.config_error) {
        const bool daemon_runs = std::ranges::any_of(report.findings, [](const Finding& one) {
            return one.check == "daemon" && one.detail.starts_with("version ");
        });
        settleProviders(providers, daemon_runs);
        std::ranges::move(providers, std::back_inserter(report.findings));
    }
    return report;
}

bool Report::usable() const {
    return std::ranges::none_of(findings,
                                [](const Finding& one) { return one.state == State::kFail; });
}

int Report::exitCode() const {
    if (usable()) return 0;
    const bool config = std::ranges::any_of(findings, [](const Finding& one) {
        return one.check == "configuration" && one.state == State::kFail;
    });
    return config ? errorTraits(ErrorCode::kInvalid).exit_code
                  : errorTraits(ErrorCode::kInternal).exit_code;
}

json::Object Report::toJson() const {
    json::Array checks;
    for (const auto& one : findings)
        checks.push_back(json::Object{{"status", name(one.state)},
                                      {"check", json::toUtf8(one.check)},
                                      {"detail", json::toUtf8(one.detail)},
                                      {"hint", json::toUtf8(one.hint)}});
    return {{"usable", usable()}, {"version", version}, {"checks", std::move(checks)}};
}

std::string Report::text(bool color) const {
    std::size_t width = 0;
    for (const auto& one : findings)
        width = std::max(width, text::escapeControl(one.check).size());
    std::string out;
    for (const auto& one : findings) {
        auto state = fmt::format("{:<4}", name(one.state));
        if (color) state = fmt::format("{}{}\x1b[0m", colorOf(one.state), state);
        out += fmt::format("{}  {:<{}}  {}\n", state, text::escapeControl(one.check), width,
                           text::escapeControl(one.detail));
        if (!one.hint.empty())
            out +=
                fmt::format("      {:<{}}  hint: {}\n", "", width, text::escapeControl(one.hint));
    }
    auto count = [&](State state) {
        return std::ranges::count_if(findings,
                                     [state](const Finding& one) { return one.state == state; });
    };
    auto warnings = counted(count(State::kWarn), "warning");
    if (usable()) return out + fmt::format("\nReady to run agents ({})\n", warnings);
    return out + fmt::format("\nNot ready to run agents: {}, {}\n",
                             counted(count(State::kFail), "problem"), warnings);
}

}  // namespace aegis::doctor
