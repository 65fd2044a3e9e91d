#include "models/timers.h"

#include <chrono>

namespace aegis::models {
namespace {

using Steady = std::chrono::steady_clock;

std::int64_t nowNs() { return std::chrono::nanoseconds(Steady::now().time_since_epoch()).count(); }

}  // namespace

TimerThread::TimerThread() : thread_([this] { run(); }) {}

TimerThread::~TimerThread() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

Timers::TimerId TimerThread::after(std::int64_t ms, std::function<void()> fn) {
    std::lock_guard lock(mutex_);
    TimerId id = ++last_id_;
    std::int64_t due = nowNs() + ms * 1'000'000;
    queue_.emplace(Key{due, id}, std::move(fn));
    due_.emplace(id, due);
    changed_.notify_all();
    return id;
}

void TimerThread::cancel(TimerId id) {
    std::function<void()> dropped;  // destroyed without the lock: it may own what calls back here
    std::lock_guard lock(mutex_);
    auto found = due_.find(id);
    if (found == due_.end()) return;
    auto node = queue_.extract(Key{found->second, id});
    dropped = std::move(node.mapped());
    due_.erase(found);
}

void TimerThread::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (queue_.empty()) {
            changed_.wait(lock);
            continue;
        }
        auto first = queue_.begin();
        std::int64_t due = first->first.first;
        if (due > nowNs()) {
            changed_.wait_until(lock, Steady::time_point(std::chrono::nanoseconds(due)));
            continue;
        }
        auto node = queue_.extract(first);
        due_.erase(node.key().second);
        lock.unlock();
        node.mapped()();
        node = {};
        lock.lock();
    }
}

}  // namespace aegis::models
