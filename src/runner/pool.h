#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace aegis::runner {

/// A fixed number of threads that run jobs in the order they were posted. Jobs must not throw. The
/// destructor (or stop()) drops what has not begun and joins. Safe on any thread.
class Pool {
  public:
    explicit Pool(std::size_t threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// False after stop(): the job is dropped.
    bool post(std::function<void()> job);
    void stop();

  private:
    void work();

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> jobs_;
    bool stopped_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace aegis::runner
