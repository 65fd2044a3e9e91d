#include "sandbox/docker/janitor.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "os/clock.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kRemoveMs = 20'000;
constexpr std::int64_t kExitMs = 5000;
constexpr std::int64_t kLongestDelayMs = 30'000;

std::int64_t delayMs(int attempts) {
    return std::min<std::int64_t>(kLongestDelayMs, 100LL << std::min(attempts, 10));
}

std::chrono::milliseconds left(BootTime due) {
    return std::chrono::milliseconds(Deadline{due}.leftMs(os::systemClock().boot()));
}

}  // namespace

Janitor::Janitor(Engine& engine) : engine_(engine), thread_([this] { run(); }) {}

Janitor::~Janitor() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void Janitor::take(Remains remains) {
    {
        std::lock_guard lock(mutex_);
        jobs_.push_back({std::move(remains), 0, os::systemClock().boot()});
    }
    changed_.notify_all();
}

Status Janitor::drain(Deadline deadline) {
    std::unique_lock lock(mutex_);
    while (!jobs_.empty() || busy_ > 0) {
        const auto wait = deadline.leftMs(os::systemClock().boot());
        if (wait == 0) return {ErrorCode::kTimeout, "containers could not be removed in time"};
        changed_.wait_for(lock, std::chrono::milliseconds(std::min<std::int64_t>(wait, 1000)));
    }
    return {};
}

// Docker 20.10 writes a container back into its list when it notices the end of one that is removed
// already: its process gone, DELETE does not wait for that. Such a ghost stays until dockerd ends.
void Janitor::awaitExit(const std::string& container) {
    // Refused where nothing runs any more, which is as well.
    (void)engine_.killContainer(container, Deadline::in(os::systemClock().boot(), kExitMs));
    (void)engine_.waitContainer(container, Deadline::in(os::systemClock().boot(), kExitMs));
}

bool Janitor::tryRemove(Job& job) {
    job.remains.listener.reset();
    if (!job.remains.container.empty()) {
        awaitExit(job.remains.container);
        auto removed = engine_.removeContainer(job.remains.container,
                                               Deadline::in(os::systemClock().boot(), kRemoveMs));
        if (!removed) {
            // 409 is a removal already under way: the next try finds it gone.
            if (removed.error().code != ErrorCode::kConflict)
                log(LogLevel::kWarn, "a container cannot be removed yet",
                    {{"container", job.remains.container}, {"error", removed.error().message}});
            return false;
        }
        job.remains.container.clear();
    }
    if (job.remains.removed) std::exchange(job.remains.removed, nullptr)();
    if (!job.remains.run) return true;
    auto removed = RunDirs::remove(*job.remains.run);
    if (!removed)
        log(LogLevel::kWarn, "a sandbox's directory cannot be removed yet",
            {{"directory", job.remains.run->shared}, {"error", removed.error().message}});
    return removed.has_value();
}

void Janitor::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        if (stopping_) return;
        const auto next = std::min_element(
            jobs_.begin(), jobs_.end(), [](const Job& a, const Job& b) { return a.due < b.due; });
        if (next == jobs_.end()) {
            changed_.wait(lock);
            continue;
        }
        if (const auto wait = left(next->due); wait.count() > 0) {
            changed_.wait_for(lock, wait);
            continue;
        }
        Job job = std::move(*next);
        jobs_.erase(next);
        ++busy_;
        lock.unlock();
        const bool done = tryRemove(job);
        job.attempts += 1;
        job.due = Deadline::in(os::systemClock().boot(), delayMs(job.attempts)).at;
        lock.lock();
        --busy_;
        if (!done) jobs_.push_back(std::move(job));
        changed_.notify_all();
    }
}

}  // namespace aegis::sandbox
