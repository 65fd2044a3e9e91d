#include "tools/watchdog.h"

#include <algorithm>
#include <chrono>

namespace aegis::tools {

Watchdog::Watchdog(Clock& clock) : clock_(clock), thread_([this] { loop(); }) {}

Watchdog::~Watchdog() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    for (auto& [key, callback] : waiting_)
        callback();
}

Watchdog::Ticket Watchdog::at(Deadline deadline, std::function<void()> callback) {
    std::lock_guard lock(mutex_);
    auto ticket = next_++;
    waiting_.emplace(std::pair(deadline, ticket), std::move(callback));
    deadlines_.emplace(ticket, deadline);
    changed_.notify_all();
    return ticket;
}

void Watchdog::cancel(Ticket ticket) {
    std::lock_guard lock(mutex_);
    auto at = deadlines_.find(ticket);
    if (at == deadlines_.end()) return;
    waiting_.erase({at->second, ticket});
    deadlines_.erase(at);
}

void Watchdog::loop() {
    // The condition variable's clock stands still while the machine sleeps; the deadlines' does
    // not.
    constexpr std::int64_t kMaxWaitMs = 1'000;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        auto now = clock_.boot();
        auto first = waiting_.begin();
        if (first == waiting_.end()) {
            changed_.wait(lock);
        } else if (!first->first.first.passed(now)) {
            auto wait_ms = std::min(first->first.first.leftMs(now), kMaxWaitMs);
            changed_.wait_for(lock, std::chrono::milliseconds(wait_ms));
        } else {
            auto callback = std::move(first->second);
            deadlines_.erase(first->first.second);
            waiting_.erase(first);
            lock.unlock();
            callback();
            lock.lock();
        }
    }
}

}  // namespace aegis::tools
