#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/time.h"
#include "ports/sandbox.h"
#include "sandbox/common/run_dir.h"
#include "sandbox/docker/engine.h"

namespace aegis::sandbox {

/// What a sandbox leaves behind.
struct Remains {
    std::string container;  ///< id or name; empty: none was made
    std::optional<RunDir> run;
    std::unique_ptr<ports::GuestListener> listener;
    /// Called on the janitor's thread once the container is proven gone.
    std::function<void()> removed;
};

/// Removes remains on a thread of its own, again and again until the engine agrees. What is left
/// when it is destroyed is found by the next start's sweep. Any thread.
class Janitor {
  public:
    explicit Janitor(Engine& engine);
    ~Janitor();
    Janitor(const Janitor&) = delete;
    Janitor& operator=(const Janitor&) = delete;

    void take(Remains remains);
    /// Waits until everything taken so far is gone. kTimeout.
    Status drain(Deadline deadline);

  private:
    struct Job {
        Remains remains;
        int attempts = 0;
        BootTime due;
    };

    void run();
    void awaitExit(const std::string& container);
    bool tryRemove(Job& job);

    Engine& engine_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::list<Job> jobs_;
    std::size_t busy_ = 0;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace aegis::sandbox
