#include "runner/scheduler.h"

#include <algorithm>

namespace aegis::runner {

Scheduler::Queue::iterator Scheduler::add(const ExecutionId& id) {
    auto at = queue_.insert(queue_.end(), {id, {}, nullptr});
    places_.emplace(id, at);
    return at;
}

void Scheduler::arrive(const ExecutionId& id) {
    std::lock_guard lock(mutex_);
    if (!places_.contains(id) && !running_.contains(id)) add(id);
}

void Scheduler::request(const ExecutionId& id, std::vector<std::string> locks,
                        std::function<void(UtcTime)> granted) {
    {
        std::lock_guard lock(mutex_);
        auto known = places_.find(id);
        if (running_.contains(id) || (known != places_.end() && known->second->granted)) return;
        auto at = known == places_.end() ? add(id) : known->second;
        at->locks = std::move(locks);
        at->granted = std::move(granted);
    }
    grant();
}

void Scheduler::adopt(const ExecutionId& id, std::vector<std::string> locks) {
    std::lock_guard lock(mutex_);
    held_.insert(locks.begin(), locks.end());
    running_.emplace(id, std::move(locks));
}

void Scheduler::release(const ExecutionId& id) {
    {
        std::lock_guard lock(mutex_);
        if (auto known = places_.find(id); known != places_.end()) {
            queue_.erase(known->second);
            places_.erase(known);
        }
        auto it = running_.find(id);
        if (it != running_.end()) {
            for (const auto& name : it->second)
                held_.erase(name);
            running_.erase(it);
        }
    }
    grant();
}

void Scheduler::open() {
    {
        std::lock_guard lock(mutex_);
        open_ = true;
    }
    grant();
}

void Scheduler::setLimit(std::size_t limit) {
    {
        std::lock_guard lock(mutex_);
        limit_ = limit;
    }
    grant();
}

std::size_t Scheduler::queued() const {
    std::lock_guard lock(mutex_);
    return queue_.size();
}

std::size_t Scheduler::running() const {
    std::lock_guard lock(mutex_);
    return running_.size();
}

void Scheduler::grant() {
    std::vector<std::function<void()>> callbacks;
    {
        std::lock_guard lock(mutex_);
        callbacks = grantLocked();
    }
    for (auto& callback : callbacks)
        callback();
}

std::vector<std::function<void()>> Scheduler::grantLocked() {
    std::vector<std::function<void()>> out;
    if (!open_) return out;
    // Locks wanted by somebody earlier in the queue: nobody behind may overtake on them.
    std::set<std::string> wanted;
    for (auto it = queue_.begin(); it != queue_.end() && running_.size() < limit_;) {
        // Arrived and about to ask: those behind it wait the moment.
        if (!it->granted) break;
        bool free = std::ranges::none_of(it->locks, [&](const std::string& name) {
            return held_.contains(name) || wanted.contains(name);
        });
        if (!free) {
            wanted.insert(it->locks.begin(), it->locks.end());
            ++it;
            continue;
        }
        held_.insert(it->locks.begin(), it->locks.end());
        running_.emplace(it->id, std::move(it->locks));
        // The time is taken in the order of the queue; the callbacks may overtake each other.
        out.push_back([granted = std::move(it->granted), now = clock_.utc()] { granted(now); });
        places_.erase(it->id);
        it = queue_.erase(it);
    }
    return out;
}

}  // namespace aegis::runner
