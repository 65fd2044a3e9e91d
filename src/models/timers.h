#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace aegis::models {

/// Runs functions later, on one thread of its own. Safe on any thread.
class Timers {
  public:
    using TimerId = std::uint64_t;
    virtual ~Timers() = default;
    /// Runs `fn` after `ms` milliseconds (0: as soon as possible, in order). `fn` must not block.
    virtual TimerId after(std::int64_t ms, std::function<void()> fn) = 0;
    /// Forgets a timer that has not begun; never waits for one that has. Unknown ids are ignored.
    virtual void cancel(TimerId id) = 0;
};

/// The real one: a thread that sleeps until the next timer. Its destructor waits for the function
/// that is running and drops the rest.
class TimerThread : public Timers {
  public:
    TimerThread();
    ~TimerThread() override;
    TimerThread(const TimerThread&) = delete;
    TimerThread& operator=(const TimerThread&) = delete;

    TimerId after(std::int64_t ms, std::function<void()> fn) override;
    void cancel(TimerId id) override;

  private:
    using Key = std::pair<std::int64_t, TimerId>;  ///< due, on the steady clock in ns
    void run();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<Key, std::function<void()>> queue_;
    std::map<TimerId, std::int64_t> due_;
    TimerId last_id_ = 0;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace aegis::models
