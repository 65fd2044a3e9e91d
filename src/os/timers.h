#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/time.h"

namespace aegis::os {

/// One thread that calls back at a time on the boot clock, in order of time, then of asking.
/// Callbacks must not block; they may set and cancel timers. Safe on any thread.
class Timers {
  public:
    using TimerId = std::uint64_t;
    /// What becomes of the timers that wait when it ends.
    enum class AtEnd : std::uint8_t { kDrop, kRun };

    explicit Timers(Clock& clock, AtEnd at_end = AtEnd::kDrop);
    ~Timers();  ///< stop()
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;

    TimerId at(Deadline when, std::function<void()> callback);
    TimerId in(std::int64_t ms, std::function<void()> callback);
    /// After it returns the callback does not begin any more (it may be running on the timer
    /// thread). Never waits; unknown ids are ignored.
    void cancel(TimerId id);
    /// Waits for the callback that is running. Later timers are dropped (or run at once).
    /// Repeatable.
    void stop();

  private:
    using Key = std::pair<Deadline, TimerId>;
    void work();

    Clock& clock_;
    const AtEnd at_end_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::map<Key, std::function<void()>> queue_;
    std::map<TimerId, Deadline> times_;
    TimerId next_ = 1;
    bool stopped_ = false;
    std::thread thread_;
};

}  // namespace aegis::os
