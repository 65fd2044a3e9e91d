#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/time.h"

namespace aegis::tools {

/// Runs callbacks, on one thread of its own, when their deadline passes. Callbacks must not block.
/// What is still waiting when it is destroyed runs then. Safe on any thread.
class Watchdog {
  public:
    explicit Watchdog(Clock& clock);
    ~Watchdog();
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

    using Ticket = std::uint64_t;
    Ticket at(Deadline deadline, std::function<void()> callback);
    /// After this the callback does not begin any more; it may be running.
    void cancel(Ticket ticket);

  private:
    void loop();

    Clock& clock_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::pair<Deadline, Ticket>, std::function<void()>> waiting_;
    std::map<Ticket, Deadline> deadlines_;
    Ticket next_ = 1;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace aegis::tools
