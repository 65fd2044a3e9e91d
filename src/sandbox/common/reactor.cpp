#include "sandbox/common/reactor.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "os/clock.h"

namespace aegis::sandbox {
namespace {
constexpr Reactor::Token kWakeToken = 0;
}

Reactor::Reactor() {
    AEGIS_ASSERT(epoll_.add(wake_.fd(), EPOLLIN, kWakeToken).has_value());
    thread_ = std::thread([this] { run(); });
}

Reactor::~Reactor() { stop(); }

void Reactor::stop() {
    if (!thread_.joinable()) return;
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.signal();
    thread_.join();
}

void Reactor::post(Task task) {
    {
        std::lock_guard lock(mutex_);
        posted_.push_back(std::move(task));
    }
    wake_.signal();
}

Reactor::Token Reactor::watch(int fd, Task ready) {
    const Token token = next_++;
    AEGIS_ASSERT(epoll_.add(fd, EPOLLIN, token).has_value());
    watches_.emplace(token, Watch{fd, std::move(ready)});
    return token;
}

Reactor::Token Reactor::at(Deadline deadline, Task task) {
    if (deadline.isNever()) return 0;
    const Token token = next_++;
    timers_.emplace(std::pair{deadline.at, token}, std::move(task));
    timer_times_.emplace(token, deadline.at);
    return token;
}

void Reactor::forget(Token token) {
    if (auto watch = watches_.find(token); watch != watches_.end()) {
        epoll_.remove(watch->second.fd);
        watches_.erase(watch);
    } else if (auto timer = timer_times_.find(token); timer != timer_times_.end()) {
        timers_.erase({timer->second, token});
        timer_times_.erase(timer);
    }
}

int Reactor::waitMs() {
    if (timers_.empty()) return -1;
    const auto left = Deadline{timers_.begin()->first.first}.leftMs(os::systemClock().boot());
    return static_cast<int>(std::min<std::int64_t>(left, 60'000));
}

void Reactor::runPosted() {
    std::vector<Task> tasks;
    {
        std::lock_guard lock(mutex_);
        tasks.swap(posted_);
    }
    for (auto& task : tasks)
        task();
}

void Reactor::runTimers() {
    const BootTime now = os::systemClock().boot();
    while (!timers_.empty() && timers_.begin()->first.first <= now) {
        auto node = timers_.extract(timers_.begin());
        timer_times_.erase(node.key().second);
        node.mapped()();
    }
}

void Reactor::run() {
    std::array<os::EpollEvent, 64> events{};
    while (true) {
        const std::size_t count = epoll_.wait(events, waitMs());
        for (std::size_t i = 0; i < count; ++i) {
            if (events[i].key == kWakeToken) {
                wake_.drain();
                continue;
            }
            auto found = watches_.find(events[i].key);
            if (found == watches_.end())
                continue;                      // forgotten by an earlier callback of this round
            auto ready = found->second.ready;  // a copy: the callback may forget itself
            ready();
        }
        runTimers();
        runPosted();
        std::lock_guard lock(mutex_);
        if (stopping_ && posted_.empty()) return;
    }
}

}  // namespace aegis::sandbox
