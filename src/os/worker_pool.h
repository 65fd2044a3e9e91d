#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace aegis::os {

/// Threads that run blocking jobs in the order of their coming. The queue is bounded. Destroying it
/// runs what is queued and joins; stop() before that drops what is queued. submit() is safe on any
/// thread.
class WorkerPool {
  public:
    /// `on_start` runs first on each thread (to give up privileges, say).
    WorkerPool(std::size_t threads, std::size_t max_queue, std::function<void()> on_start = {});
    ~WorkerPool();
    WorkerPool(const WorkerPool&) = delete;
    WorkerPool& operator=(const WorkerPool&) = delete;

    /// False, with `job` dropped, when the queue is full.
    [[nodiscard]] bool submit(std::function<void()> job);
    /// Drops what is queued, waits for what runs, refuses what comes later. Repeatable.
    void stop();

  private:
    void loop();
    void end(bool drop);

    std::size_t max_queue_;
    std::function<void()> on_start_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> queue_;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace aegis::os
