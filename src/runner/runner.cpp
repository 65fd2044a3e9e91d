#include "runner/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>

#include "base/log.h"
#include "runner/effects.h"

namespace aegis::runner {

using namespace execution;
using aegis::Status;  // not the execution's

namespace {

constexpr std::int64_t kReloadMs = 2000;
/// Far beyond what executions can have going on at once.
constexpr std::size_t kMaxQueuedJobs = 1U << 20U;

/// Folds an execution's whole log.
Result<State> fold(ports::Journal& journal, const ExecutionId& id) {
    constexpr std::size_t kPage = 1000;
    State state;
    while (true) {
        AEGIS_TRY(auto events, journal.events(id, state.last_seq, kPage));
        for (const auto& event : events)
            apply(state, event);
        if (events.size() < kPage) return state;
    }
}

/// What an answer in another API's format is named by.
using RequestId = Id<struct RequestTag>;

Error stoppingError() { return {ErrorCode::kUnavailable, "the daemon is stopping"}; }

}  // namespace

Deps::Deps(RunnerPorts ports, std::size_t core_threads, std::size_t worker_threads,
           std::size_t validator_threads, std::size_t concurrent, std::size_t cache_bytes)
    : RunnerPorts(std::move(ports)),
      core(core_threads),
      workers(worker_threads, kMaxQueuedJobs),
      validators(validator_threads, kMaxQueuedJobs),
      background(1, kMaxQueuedJobs),
      timers(clock),
      scheduler(concurrent, clock),
      bodies(journal, cache_bytes) {}

void Deps::stop() {
    core.stop();
    timers.stop();
    background.stop();
    validators.stop();
    workers.stop();
}

Runner::Runner(RunnerPorts ports, RunnerOptions options)
    : options_(std::move(options)),
      deps_(std::make_shared<Deps>(std::move(ports), options_.core_threads, options_.worker_threads,
                                   options_.validator_threads, options_.max_concurrent_executions,
                                   options_.body_cache_bytes)) {
    deps_->volumes.onFull([this](const ExecutionId& id, const ports::VolumeRecord& volume) {
        if (auto actor = find(id)) actor->post(QuotaExceeded{{volume.id, volume.name}});
    });
}

Runner::~Runner() {
    deps_->volumes.onFull({});
    deps_->stop();
}

std::shared_ptr<Actor> Runner::find(const ExecutionId& id) const {
    std::lock_guard lock(mutex_);
    auto it = actors_.find(id);
    return it == actors_.end() ? nullptr : it->second;
}

ports::Runtime* Runner::runtime(const std::string& isolation) const {
    auto it = deps_->runtimes.find(isolation);
    return it == deps_->runtimes.end() ? nullptr : it->second;
}

std::shared_ptr<Actor> Runner::start(ExecutionContext context, State state) {
    auto id = context.id;
    auto actor = std::make_shared<Actor>(
        deps_, std::move(context), std::move(state),
        [this](const ExecutionId& ended_id, Actor::End how) { ended(ended_id, how); });
    std::lock_guard lock(mutex_);
    actors_[id] = actor;
    return actor;
}

void Runner::ended(const ExecutionId& id, Actor::End how) {
    bool again = false;
    {
        std::lock_guard lock(mutex_);
        actors_.erase(id);
        again = how == Actor::End::kBroken && !stopping_;
    }
    changed_.notify_all();
    if (again) retryLater(id);
}

void Runner::retryLater(const ExecutionId& id) {
    deps_->timers.in(kReloadMs,
                     [this, id] { (void)deps_->background.submit([this, id] { reload(id); }); });
}

void Runner::reload(const ExecutionId& id) {
    auto row = deps_->journal.row(id);
    if (row && isTerminal(row->status)) {
        deps_->scheduler.release(id);
        return;
    }
    Status loaded = row ? load(*row) : Status{row.error()};
    if (loaded) return;
    log(LogLevel::kError, "an execution could not be loaded",
        {{"execution_id", id.str()}, {"error", loaded.error().message}});
    retryLater(id);
}

Result<ExecutionContext> Runner::contextOf(const ports::ExecutionRow& row) {
    AEGIS_TRY(auto record, deps_->registry.revision(row.agent_id, row.agent_revision));
    AEGIS_TRY(auto value, json::parse(record.manifest_json));
    AEGIS_TRY(auto manifest, agent::manifestFromJson(value));
    auto resolved = options_.resolve(manifest);
    ExecutionContext context;
    context.id = row.id;
    context.agent_id = row.agent_id;
    context.agent_name = row.agent_name;
    context.agent_revision = row.agent_revision;
    context.labels = row.labels;
    context.manifest = std::make_shared<const agent::Manifest>(std::move(manifest));
    AEGIS_TRY(context.locks, locksOf(context, deps_->volumes));
    if (!resolved) {
        context.no_runtime = std::move(resolved.error());
        return context;
    }
    context.isolation = resolved->first;
    context.image = resolved->second;
    context.runtime = runtime(context.isolation);
    if (context.runtime == nullptr)
        context.no_runtime = {
            ErrorCode::kUnsupported,
            fmt::format("isolation {} is not available on this node", context.isolation)};
    return context;
}

Status Runner::load(const ports::ExecutionRow& row) {
    AEGIS_TRY(auto context, contextOf(row));
    AEGIS_TRY(auto state, fold(deps_->journal, row.id));
    context.input = state.input;
    bool was_running = state.status == execution::Status::kRunning;
    if (was_running)
        deps_->scheduler.adopt(row.id, context.locks);
    else
        deps_->scheduler.arrive(row.id);
    auto actor = start(std::move(context), std::move(state));
    actor->post(Recovered{});
    return {};
}

void Runner::recover() {
    auto rows = deps_->journal.unfinished();
    if (!rows) {
        log(LogLevel::kError, "unfinished executions cannot be read",
            {{"error", rows.error().message}});
        return;
    }
    bool none_alive = true;
    for (auto& [name, runtime] : deps_->runtimes) {
        if (auto swept = runtime->sweep({}); !swept) {
            none_alive = false;
            log(rows->empty() ? LogLevel::kDebug : LogLevel::kWarn,
                "sandboxes of an earlier run could not be swept",
                {{"isolation", name}, {"error", swept.error().message}});
        }
    }
    std::set<ExecutionId> live;
    for (const auto& row : *rows)
        live.insert(row.id);
    if (auto swept = deps_->volumes.sweep(live, deps_->clock.utc()); !swept)
        log(LogLevel::kWarn, "volumes could not be swept", {{"error", swept.error().message}});
    if (none_alive) {
        if (auto released = deps_->journal.releaseEnded(); !released)
            log(LogLevel::kWarn, "locks of ended executions could not be released",
                {{"error", released.error().message}});
    }
    std::size_t loaded = 0;
    for (const auto& row : *rows) {
        if (auto status = load(row); status) {
            ++loaded;
        } else {
            log(LogLevel::kError, "an execution could not be loaded",
                {{"execution_id", row.id.str()}, {"error", status.error().message}});
        }
    }
    if (loaded > 0)
        log(LogLevel::kInfo, "unfinished executions go on", {{"count", std::to_string(loaded)}});
    deps_->scheduler.open();
}

Result<UtcTime> Runner::submit(Submission submission) {
    {
        std::lock_guard lock(mutex_);
        if (stopping_) return stoppingError();
    }
    AEGIS_TRY(submission.context.locks, locksOf(submission.context, deps_->volumes));
    // Shared with the callback, which outlives this call if the wait below is given up.
    auto promise = std::make_shared<std::promise<Result<UtcTime>>>();
    auto future = promise->get_future();
    auto actor = start(std::move(submission.context), {});
    actor->create(std::move(submission.created), std::move(submission.input),
                  [promise](Result<UtcTime> made) { promise->set_value(std::move(made)); });
    constexpr auto kPatience = std::chrono::seconds(60);
    if (future.wait_for(kPatience) != std::future_status::ready)
        return {ErrorCode::kTimeout, "the execution could not be stored in time"};
    return future.get();
}

Status Runner::cancel(const ExecutionId& id, const std::string& reason, Deadline deadline) {
    auto actor = find(id);
    if (!actor) return {ErrorCode::kNotFound, "the execution is not running"};
    actor->post(Cancel{reason});
    std::unique_lock lock(mutex_);
    while (actors_.contains(id)) {
        auto left = deadline.leftMs(deps_->clock.boot());
        if (left == 0) return {ErrorCode::kTimeout, "the execution has not ended in time"};
        changed_.wait_for(lock, std::chrono::milliseconds(std::min<std::int64_t>(left, 1000)));
    }
    lock.unlock();
    AEGIS_TRY(auto row, deps_->journal.row(id));
    if (row.status == execution::Status::kCancelled) return {};
    return {ErrorCode::kConflict,
            fmt::format("execution {} is already {}", id.str(), statusName(row.status))};
}

void Runner::generate(const ports::SandboxId& sandbox, proto::guest::GenerateRequest request,
                      GuestCallPtr call) {
    auto actor = find(sandbox.execution);
    if (!actor) {
        call->fail("iteration_ended", "the execution has ended", false);
        return;
    }
    auto body = ports::makeBody(fmt::format(R"({{"prompt":{},"messages":{}}})",
                                            json::quote(request.prompt),
                                            json::dump(std::move(request.messages))));
    actor->generate({sandbox.ordinal,
                     std::move(request.request_id),
                     std::move(request.model_alias),
                     {},
                     std::move(body)},
                    std::move(call));
}

void Runner::chat(const ports::SandboxId& sandbox, std::string format, std::string model_alias,
                  const json::Object& prompt, GuestCallPtr call) {
    auto actor = find(sandbox.execution);
    if (!actor) {
        call->fail("iteration_ended", "the execution has ended", false);
        return;
    }
    auto id = RequestId::generate(deps_->random).str();
    std::erase(id, '-');
    actor->generate({sandbox.ordinal, std::move(id), std::move(model_alias), std::move(format),
                     ports::makeBody(json::dump(prompt))},
                    std::move(call));
}

void Runner::dispatchResult(const ports::SandboxId& sandbox, proto::guest::DispatchResult result,
                            GuestCallPtr call) {
    auto actor = find(sandbox.execution);
    if (!actor) {
        call->fail("iteration_ended", "the execution has ended", false);
        return;
    }
    actor->dispatchResult(sandbox.ordinal, std::move(result), std::move(call));
}

std::optional<agent::NetworkSpec> Runner::network(const ports::SandboxId& sandbox) {
    auto actor = find(sandbox.execution);
    if (!actor) return std::nullopt;
    return actor->context().manifest->security.network;
}

void Runner::decided(const ports::SandboxId& sandbox, execution::EgressDecided data) {
    if (auto actor = find(sandbox.execution)) actor->egress(sandbox.ordinal, std::move(data));
}

void Runner::shutdown(Deadline deadline) {
    std::vector<std::shared_ptr<Actor>> actors;
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        for (auto& [id, actor] : actors_)
            actors.push_back(actor);
    }
    struct Pending {
        std::mutex mutex;
        std::condition_variable done;
        std::size_t left = 0;
    };
    // Shared with callbacks that may come after the deadline.
    auto pending = std::make_shared<Pending>();
    pending->left = actors.size();
    for (auto& actor : actors) {
        actor->halt([pending] {
            {
                std::lock_guard lock(pending->mutex);
                --pending->left;
            }
            pending->done.notify_all();
        });
    }
    std::unique_lock lock(pending->mutex);
    auto patience = std::chrono::milliseconds(deadline.leftMs(deps_->clock.boot()));
    pending->done.wait_for(lock, patience, [&] { return pending->left == 0; });
}

void Runner::sweepVolumes() {
    std::set<ExecutionId> live;
    if (auto rows = deps_->journal.unfinished()) {
        for (const auto& row : *rows)
            live.insert(row.id);
    } else {
        return;
    }
    if (auto swept = deps_->volumes.sweep(live, deps_->clock.utc()); !swept)
        log(LogLevel::kWarn, "volumes could not be swept", {{"error", swept.error().message}});
}

void Runner::removeEnded(UtcTime time) {
    constexpr std::size_t kMostAtOnce = 500;
    auto ids = deps_->journal.endedBefore(time, kMostAtOnce);
    if (!ids) {
        log(LogLevel::kWarn, "old executions cannot be listed", {{"error", ids.error().message}});
        return;
    }
    std::size_t removed = 0;
    for (const auto& id : *ids) {
        if (auto done = deps_->journal.remove(id)) {
            ++removed;
        } else if (done.error().code != ErrorCode::kNotFound) {
            log(LogLevel::kWarn, "an old execution could not be removed",
                {{"execution_id", id.str()}, {"error", done.error().message}});
            break;  // the disk, most likely: the next sweep tries again
        }
    }
    if (removed > 0)
        log(LogLevel::kInfo, "old executions were removed", {{"count", std::to_string(removed)}});
}

}  // namespace aegis::runner
