#include "tools/tool_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>

#include "base/log.h"
#include "os/identity.h"
#include "text/escape.h"
#include "tools/args/args.h"
#include "tools/fs/fs_tools.h"

namespace aegis::tools {
namespace {

constexpr std::string_view kCmdRun = "cmd.run";
constexpr unsigned kSandboxUser = 1000;

/// Of the worker that runs this. A worker that could not give up its rights does nothing at all.
thread_local Status worker_identity{ErrorCode::kInternal, "not on a worker"};

void becomeSandboxUser() {
    worker_identity = os::takeFileIdentity(kSandboxUser, kSandboxUser);
    if (!worker_identity)
        log(LogLevel::kWarn, "the fs tools cannot work",
            {{"error", worker_identity.error().message}});
}

ports::ToolOutcome failed(std::string summary, std::string reason) {
    return {.ok = false,
            .text = reason,
            .summary = std::move(summary),
            .reason = std::move(reason),
            .exit_code = {}};
}

}  // namespace

/// A call under way. Shared by its worker and the watchdog, whichever answers first.
struct ToolTable::Job {
    ports::ToolContext context;
    ports::ToolCall call;
    Deadline deadline;
    Result<os::Fd> root{ErrorCode::kInternal, "no sandbox"};
    std::string summary;
    std::function<void(ports::ToolOutcome)> done;
    std::atomic<bool> answered = false;
    os::Timers::TimerId ticket = 0;

    void answer(ports::ToolOutcome outcome) {
        if (!answered.exchange(true)) done(std::move(outcome));
    }
};

ToolTable::ToolTable(TableOptions options, std::vector<ports::Runtime*> runtimes, Clock& clock)
    : options_(std::move(options)),
      cmd_(options_.cmd),
      runtimes_(std::move(runtimes)),
      clock_(clock),
      watchdog_(clock, os::Timers::AtEnd::kRun),
      pool_(options_.workers, options_.max_queue, &becomeSandboxUser) {
    if (options_.web != nullptr) web_.emplace(*options_.web);
}

Result<os::Fd> ToolTable::rootOf(const ports::SandboxId& id) const {
    Result<os::Fd> root = Error(ErrorCode::kNotFound, "the sandbox is not running");
    for (auto* runtime : runtimes_)
        if (root = runtime->root(id); root) break;
    return root;
}

ToolTable::~ToolTable() { stopping_ = true; }

std::vector<std::string> ToolTable::names() const {
    std::vector<std::string> all;
    for (const auto& spec : FsTools::specs())
        all.push_back(spec.name);
    if (options_.dispatcher_enabled) all.emplace_back(kCmdRun);
    if (web_) all.emplace_back(WebFetch::kName);
    return all;
}

std::vector<std::string> ToolTable::offeredNames(const agent::Manifest& manifest) const {
    agent::NodeFacts facts;
    for (auto& name : names())
        facts.tools.insert(name);
    return agent::offeredTools(manifest, facts);
}

std::vector<ports::ToolSpec> ToolTable::offered(const agent::Manifest& manifest) const {
    std::vector<ports::ToolSpec> specs;
    for (const auto& name : offeredNames(manifest)) {
        auto spec = std::ranges::find(FsTools::specs(), name, &ports::ToolSpec::name);
        if (spec != FsTools::specs().end())
            specs.push_back(*spec);
        else if (name == kCmdRun)
            specs.push_back(CmdRun::spec());
        else if (name == WebFetch::kName)
            specs.push_back(WebFetch::spec());
    }
    auto cwd = agent::defaultCwd(manifest);
    for (auto& spec : specs)
        if (spec.name != WebFetch::kName)
            spec.description += fmt::format(" Working directory: {}.", cwd);
    return specs;
}

ports::ToolAdmission ToolTable::admit(const ports::ToolContext& context,
                                      const ports::ToolCall& call) const {
    auto available = offeredNames(*context.manifest);
    if (std::ranges::find(available, call.name) == available.end())
        return refusal(
            {}, fmt::format(
                    "unknown tool \"{}\"; available: {}",
                    text::shorten(text::escapeControl(call.name), 100),
                    available.empty() ? "none" : fmt::format("{}", fmt::join(available, ", "))));
    if (call.name == kCmdRun) return cmd_.admit(*context.manifest, call);
    if (call.name == WebFetch::kName) return web_->admit(call);
    return FsTools::admit(*context.manifest, call);
}

void ToolTable::run(const ports::ToolContext& context, const ports::ToolCall& call,
                    Deadline deadline, std::function<void(ports::ToolOutcome)> done) {
    if (call.name == WebFetch::kName && web_) {
        auto own = Deadline::in(clock_.boot(), std::int64_t{1000} * options_.cmd.timeout_secs);
        web_->run(context, call, deadline.earlier(own), std::move(done));
        return;
    }
    // Shared: see Job.
    auto job = std::make_shared<Job>();
    job->context = context;
    job->call = call;
    job->deadline = deadline;
    job->summary = FsTools::admit(*context.manifest, call).summary;
    job->done = std::move(done);
    // Here and not on a worker: it takes rights that the workers have given up.
    job->root = rootOf(context.sandbox);
    job->ticket = watchdog_.at(deadline, [this, job] { finishLate(job, "took too long"); });
    bool queued = pool_.submit([this, job] {
        if (job->answered) return;
        if (stopping_) return job->answer(failed(job->summary, "the daemon is stopping"));
        auto ready = worker_identity;
        if (ready && !job->root) ready = job->root.error();
        auto outcome =
            ready ? FsTools::run(*job->context.manifest, job->call, job->root->get(), job->deadline)
                  : failed(job->summary,
                           reasonOf(job->call.name, job->summary, ready.error().message));
        job->root = Error{ErrorCode::kInternal, "done"};
        watchdog_.cancel(job->ticket);
        job->answer(std::move(outcome));
    });
    if (queued) return;
    watchdog_.cancel(job->ticket);
    watchdog_.at(Deadline{BootTime{0}},
                 [this, job] { finishLate(job, "too many calls are waiting"); });
}

void ToolTable::finishLate(const std::shared_ptr<Job>& job, std::string why) {
    job->answer(failed(job->summary, reasonOf(job->call.name, job->summary, why)));
}

ports::ToolOutcome ToolTable::finish(const ports::ToolCall& call,
                                     const ports::DispatchOutcome& outcome) const {
    return cmd_.finish(call, outcome);
}

Result<std::string> ToolTable::read(const ports::SandboxId& id, const std::string& path,
                                    std::uint64_t limit, Deadline deadline) {
    AEGIS_TRY(os::Fd root, rootOf(id));
    // Shared: the caller may give up at the deadline while the worker still reads.
    struct Reading {
        os::Fd root;
        std::promise<Result<std::string>> result;
    };
    auto reading = std::make_shared<Reading>();
    reading->root = std::move(root);
    auto result = reading->result.get_future();
    bool queued = pool_.submit([reading, path, limit, deadline] {
        reading->result.set_value(
            worker_identity ? FsTools::readFile(reading->root.get(), path, limit, deadline)
                            : Result<std::string>(worker_identity.error()));
    });
    if (!queued) return {ErrorCode::kTooMany, "too many calls are waiting"};
    while (result.wait_for(std::chrono::milliseconds(std::min<std::int64_t>(
               deadline.leftMs(clock_.boot()) + 100, 1000))) != std::future_status::ready)
        if (deadline.passed(clock_.boot())) return {ErrorCode::kTimeout, path + ": took too long"};
    return result.get();
}

}  // namespace aegis::tools
