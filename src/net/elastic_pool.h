#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace aegis::net {

/// Threads made when a task comes and none is idle; some idle ones are kept. For tasks that block
/// for as long as a connection lives, so nothing is ever queued. Any thread.
class ElasticPool {
  public:
    ElasticPool(std::size_t max_threads, std::size_t max_idle, std::size_t stack_bytes);
    ~ElasticPool();  ///< waits for the running tasks
    ElasticPool(const ElasticPool&) = delete;
    ElasticPool& operator=(const ElasticPool&) = delete;

    /// False, with `task` dropped, when all threads are busy and no further one can be made.
    [[nodiscard]] bool run(std::function<void()> task);
    std::size_t threads() const;

  private:
    struct State;
    static void* threadMain(void* argument);
    std::size_t stack_bytes_;
    /// shared_ptr: a thread's last step, after the pool has stopped waiting for it, is to let go of
    /// it.
    std::shared_ptr<State> state_;
};

}  // namespace aegis::net
