#pragma once

#include <cstdint>
#include <functional>

#include "os/timers.h"

namespace aegis::models {

/// Runs functions later: the seam at which tests let time pass. Safe on any thread.
class Timers {
  public:
    using TimerId = os::Timers::TimerId;
    virtual ~Timers() = default;
    /// Runs `fn` after `ms` milliseconds (0: as soon as possible, in order). `fn` must not block.
    virtual TimerId after(std::int64_t ms, std::function<void()> fn) = 0;
    /// Forgets a timer that has not begun; never waits for one that has. Unknown ids are ignored.
    virtual void cancel(TimerId id) = 0;
};

/// The real one. Its destructor waits for the function that is running and drops the rest.
class TimerThread : public Timers {
  public:
    explicit TimerThread(Clock& clock) : timers_(clock) {}

    TimerId after(std::int64_t ms, std::function<void()> fn) override {
        return timers_.in(ms, std::move(fn));
    }
    void cancel(TimerId id) override { timers_.cancel(id); }

  private:
    os::Timers timers_;
};

}  // namespace aegis::models
