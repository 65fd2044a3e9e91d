#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/time.h"

namespace aegis::runner {

/// One thread that calls back at a time on the boot clock. Callbacks must not block. Safe on any thread.
class Timers {
  public:
    using TimerId = std::uint64_t;

    explicit Timers(Clock& clock);
    ~Timers();
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;

    TimerId at(BootTime when, std::function<void()> callback);
    TimerId in(std::int64_t ms, std::function<void()> callback);
    /// After it returns the callback does not begin any more (it may be running on the timer thread).
    void cancel(TimerId id);
    void stop();

  private:
    void work();

    Clock& clock_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::map<std::pair<BootTime, TimerId>, std::function<void()>> queue_;
    std::map<TimerId, BootTime> times_;
    TimerId next_ = 1;
    bool stopped_ = false;
    std::thread thread_;
};

}  // namespace aegis::runner
