#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "api/api_routes.h"
#include "runner/runner.h"

namespace aegis::daemon {

/// Whether executions can be started now: what /health/ready says. Any thread; blocks as long as
/// the runtime takes to say whether it is there (2 s at most), once in two seconds.
class Health {
  public:
    Health(runner::Runner& runner, std::string isolation, std::string data_dir, Clock& clock)
        : runner_(runner),
          isolation_(std::move(isolation)),
          data_dir_(std::move(data_dir)),
          clock_(clock) {}

    void setRecovered() { recovered_ = true; }
    std::vector<api::HealthCheck> checks();

  private:
    std::string runtimeProblem();
    std::string diskProblem() const;

    runner::Runner& runner_;
    const std::string isolation_;  ///< the node's default
    const std::string data_dir_;
    Clock& clock_;
    std::atomic<bool> recovered_ = false;
    std::mutex mutex_;
    Deadline fresh_until_{BootTime{}};
    std::string runtime_problem_;
};

}  // namespace aegis::daemon
