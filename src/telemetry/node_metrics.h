#pragma once

#include <mutex>
#include <set>
#include <vector>

#include "execution/event.h"
#include "net/server.h"
#include "telemetry/registry.h"

namespace aegis::telemetry {

/// What is true at the moment of asking.
struct NodeState {
    std::size_t running = 0;  ///< executions
    std::size_t pending = 0;
    std::size_t streams = 0;
    std::size_t connections = 0;
    bool ready = false;
};

/// The node's metrics since its start. Any thread; nothing blocks.
class NodeMetrics {
  public:
    NodeMetrics(std::string_view version, UtcTime started_at);

    /// What an execution's batch of committed events means; batches come in commit order.
    void onEvents(const ExecutionId& id, const std::vector<execution::Event>& events);
    void onAnswered(const net::Answered& answered);
    std::string text(const NodeState& now);

  private:
    class EventCounter;

    Registry registry_;
    Metric& created_;
    Metric& ended_;
    Metric& failures_;
    Metric& durations_;
    Metric& executions_;
    Metric& queue_;
    Metric& iterations_;
    Metric& validations_;
    Metric& sandbox_starts_;
    Metric& model_calls_;
    Metric& model_seconds_;
    Metric& tokens_;
    Metric& cost_;
    Metric& tool_calls_;
    Metric& tool_seconds_;
    Metric& egress_;
    Metric& requests_;
    Metric& request_seconds_;
    Metric& streams_;
    Metric& connections_;
    Metric& ready_;

    std::mutex mutex_;
    std::set<ExecutionId> iterating_;  ///< executions with an iteration that has not ended
};

}  // namespace aegis::telemetry
