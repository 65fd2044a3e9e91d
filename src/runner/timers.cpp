#include "runner/timers.h"

#include <algorithm>
#include <chrono>

namespace aegis::runner {

Timers::Timers(Clock& clock) : clock_(clock), thread_([this] { work(); }) {}

Timers::~Timers() { stop(); }

Timers::TimerId Timers::at(BootTime when, std::function<void()> callback) {
    TimerId id = 0;
    {
        std::lock_guard lock(mutex_);
        id = next_++;
        queue_.emplace(std::pair(when, id), std::move(callback));
        times_.emplace(id, when);
    }
    wake_.notify_one();
    return id;
}

Timers::TimerId Timers::in(std::int64_t ms, std::function<void()> callback) {
    return at(Deadline::in(clock_.boot(), std::max<std::int64_t>(ms, 0)).at, std::move(callback));
}

void Timers::cancel(TimerId id) {
    std::lock_guard lock(mutex_);
    auto it = times_.find(id);
    if (it == times_.end()) return;
    queue_.erase({it->second, id});
    times_.erase(it);
}

void Timers::stop() {
    {
        std::lock_guard lock(mutex_);
        stopped_ = true;
        queue_.clear();
        times_.clear();
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Timers::work() {
    // condition_variable waits on the monotonic clock, which stands still while the machine sleeps; the
    // boot clock does not. Waking at least once a second keeps the difference small.
    constexpr std::int64_t kLongestWaitMs = 1000;
    std::unique_lock lock(mutex_);
    while (!stopped_) {
        if (queue_.empty()) {
            wake_.wait(lock);
            continue;
        }
        auto first = queue_.begin();
        auto now = clock_.boot();
        if (first->first.first > now) {
            auto left = Deadline{first->first.first}.leftMs(now);
            wake_.wait_for(lock, std::chrono::milliseconds(std::min(left, kLongestWaitMs)));
            continue;
        }
        auto callback = std::move(first->second);
        times_.erase(first->first.second);
        queue_.erase(first);
        lock.unlock();
        callback();
        lock.lock();
    }
}

}  // namespace aegis::runner
