#include "os/timers.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace aegis::os {

Timers::Timers(Clock& clock, AtEnd at_end)
    : clock_(clock), at_end_(at_end), thread_([this] { work(); }) {}

Timers::~Timers() { stop(); }

Timers::TimerId Timers::at(Deadline when, std::function<void()> callback) {
    std::unique_lock lock(mutex_);
    TimerId id = next_++;
    if (stopped_) {
        lock.unlock();
        if (at_end_ == AtEnd::kRun) callback();
        return id;
    }
    queue_.emplace(Key{when, id}, std::move(callback));
    times_.emplace(id, when);
    lock.unlock();
    wake_.notify_one();
    return id;
}

Timers::TimerId Timers::in(std::int64_t ms, std::function<void()> callback) {
    return at(Deadline::in(clock_.boot(), std::max<std::int64_t>(ms, 0)), std::move(callback));
}

void Timers::cancel(TimerId id) {
    // Destroyed after the lock is gone: a callback may own what calls back here.
    decltype(queue_)::node_type dropped;
    std::lock_guard lock(mutex_);
    auto it = times_.find(id);
    if (it == times_.end()) return;
    dropped = queue_.extract(Key{it->second, id});
    times_.erase(it);
}

void Timers::stop() {
    decltype(queue_) left;
    {
        std::lock_guard lock(mutex_);
        stopped_ = true;
        left = std::exchange(queue_, {});
        times_.clear();
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (at_end_ == AtEnd::kDrop) return;
    for (auto& [key, callback] : left) callback();
}

void Timers::work() {
    // condition_variable waits on the monotonic clock, which stands still while the machine sleeps;
    // the boot clock does not. Waking at least once a second keeps the difference small.
    constexpr std::int64_t kLongestWaitMs = 1000;
    std::unique_lock lock(mutex_);
    while (!stopped_) {
        if (queue_.empty()) {
            wake_.wait(lock);
            continue;
        }
        auto first = queue_.begin();
        auto left = first->first.first.leftMs(clock_.boot());
        if (left > 0) {
            wake_.wait_for(lock, std::chrono::milliseconds(std::min(left, kLongestWaitMs)));
            continue;
        }
        auto node = queue_.extract(first);
        times_.erase(node.key().second);
        lock.unlock();
        node.mapped()();
        node = {};
        lock.lock();
    }
}

}  // namespace aegis::os
