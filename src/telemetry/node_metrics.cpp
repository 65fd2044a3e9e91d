#include "telemetry/node_metrics.h"

#include <algorithm>
#include <array>
#include <string>

namespace aegis::telemetry {

using namespace execution;

namespace {

const std::vector<double> kStartBounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                       0.25,  0.5,    1,     2.5,  5,     10,   30};
const std::vector<double> kCallBounds{0.01, 0.05, 0.1, 0.25, 0.5, 1,   2.5,
                                      5,    10,   20,  30,   60,  120, 300};
const std::vector<double> kRunBounds{0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600};
const std::vector<double> kRequestBounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                         0.1,    0.25,  0.5,    1,     2.5,  10};
constexpr std::array<std::string_view, 7> kMethods{"GET",    "HEAD",  "POST",   "PUT",
                                                   "DELETE", "PATCH", "OPTIONS"};

double seconds(std::int64_t ms) { return static_cast<double>(ms) / 1000; }

}  // namespace

NodeMetrics::NodeMetrics(std::string_view version, UtcTime started_at)
    : created_(registry_.counter("aegis_executions_created_total", "Executions accepted")),
      ended_(registry_.counter("aegis_executions_ended_total", "Executions ended, by status",
                               {"status"})),
      failures_(registry_.counter("aegis_execution_failures_total",
                                  "Failed executions, by error code", {"code"})),
      durations_(registry_.histogram("aegis_execution_duration_seconds",
                                     "From the start of an execution to its end", {"status"},
                                     kRunBounds)),
      executions_(registry_.gauge("aegis_executions", "Executions that have not ended, by status",
                                  {"status"})),
      queue_(registry_.gauge("aegis_queue_length", "Executions that wait for a place to run")),
      iterations_(
          registry_.counter("aegis_iterations_total", "Iterations ended, by status", {"status"})),
      validations_(registry_.counter("aegis_validations_total", "Verdicts, by validator and result",
                                     {"validator", "result"})),
      sandbox_starts_(registry_.histogram("aegis_sandbox_start_seconds", "Time to start a sandbox",
                                          {"runtime"}, kStartBounds)),
      model_calls_(
          registry_.counter("aegis_model_calls_total", "Model calls ended, by result", {"result"})),
      model_seconds_(registry_.histogram("aegis_model_call_duration_seconds",
                                         "Duration of answered model calls", {"provider", "model"},
                                         kCallBounds)),
      tokens_(registry_.counter("aegis_model_tokens_total", "Tokens of answered model calls",
                                {"provider", "model", "type"})),
      cost_(registry_.counter("aegis_model_cost_usd_total",
                              "Cost of answered model calls, by the configured prices",
                              {"provider", "model"})),
      tool_calls_(registry_.counter("aegis_tool_calls_total", "Tool calls ended, by result",
                                    {"tool", "result"})),
      tool_seconds_(registry_.histogram("aegis_tool_call_duration_seconds",
                                        "Duration of tool calls", {"tool"}, kCallBounds)),
      egress_(registry_.counter("aegis_egress_decisions_total", "Connections asked for by agents",
                                {"verdict"})),
      requests_(registry_.counter("aegis_http_requests_total", "Answered requests",
                                  {"method", "route", "status"})),
      request_seconds_(registry_.histogram("aegis_http_request_duration_seconds",
                                           "From a request's head to its answer's last byte",
                                           {"route"}, kRequestBounds)),
      streams_(registry_.gauge("aegis_event_streams", "Open event streams")),
      connections_(registry_.gauge("aegis_http_connections", "Open connections to the API")),
      ready_(registry_.gauge("aegis_ready", "Whether /health/ready says ready (1)")) {
    registry_.gauge("aegis_build_info", "Always 1", {"version"}).set({version}, 1);
    registry_.gauge("aegis_start_time_seconds", "Start of the daemon, since the Unix epoch")
        .set({}, seconds(started_at.ms));
    for (auto status : {"completed", "failed", "cancelled"})
        ended_.add({status}, 0);
    for (auto status : {"success", "refining", "failed", "cancelled"})
        iterations_.add({status}, 0);
}

/// Counts one event; under the lock.
class NodeMetrics::EventCounter {
  public:
    EventCounter(NodeMetrics& m, const ExecutionId& id) : m_(m), id_(id) {}

    void operator()(const ExecutionCreated&) { m_.created_.add({}); }
    void operator()(const IterationStarted&) { m_.iterating_.insert(id_); }
    void operator()(const ExecutionResumed&) { m_.iterating_.insert(id_); }
    void operator()(const SandboxStarted& d) {
        m_.sandbox_starts_.observe({d.runtime}, seconds(d.start_ms));
    }
    void operator()(const LlmCallCompleted& d) {
        m_.model_calls_.add({"completed"});
        m_.model_seconds_.observe({d.provider, d.model}, seconds(d.duration_ms));
        m_.tokens_.add({d.provider, d.model, "prompt"}, static_cast<double>(d.usage.prompt_tokens));
        m_.tokens_.add({d.provider, d.model, "completion"},
                       static_cast<double>(d.usage.completion_tokens));
        m_.cost_.add({d.provider, d.model}, d.usage.cost_usd);
    }
    void operator()(const LlmCallFailed&) { m_.model_calls_.add({"failed"}); }
    void operator()(const ToolCallCompleted& d) {
        m_.tool_calls_.add({d.tool, d.ok ? "ok" : "error"});
        m_.tool_seconds_.observe({d.tool}, seconds(d.duration_ms));
    }
    void operator()(const ToolCallDenied&) {
        // The name is the model's own: it may be anything.
        m_.tool_calls_.add({"other", "denied"});
    }
    void operator()(const EgressDecided& d) { m_.egress_.add({d.allowed ? "allowed" : "denied"}); }
    void operator()(const ValidationCompleted& d) {
        for (const auto& r : d.results)
            m_.validations_.add({r.validator, r.passed ? "passed" : "failed"});
    }
    void operator()(const IterationRefining&) { closeIteration("refining"); }
    void operator()(const OutcomeDecided& d) {
        closeIteration(d.outcome == Outcome::kCompleted ? "success"
                       : d.outcome == Outcome::kFailed  ? "failed"
                                                        : "cancelled");
    }
    void operator()(const IterationCompleted& d) {
        if (!d.failure.code.empty()) closeIteration("failed");
    }
    void operator()(const ExecutionCompleted& d) { end("completed", d.duration_ms); }
    void operator()(const ExecutionCancelled& d) { end("cancelled", d.duration_ms); }
    void operator()(const ExecutionFailed& d) {
        m_.failures_.add({d.failure.code});
        end("failed", d.duration_ms);
    }
    template <class Other>
    void operator()(const Other&) {}

  private:
    void closeIteration(std::string_view status) {
        if (m_.iterating_.erase(id_) > 0) m_.iterations_.add({status});
    }
    void end(std::string_view status, std::int64_t duration_ms) {
        m_.ended_.add({status});
        m_.durations_.observe({status}, seconds(duration_ms));
        m_.iterating_.erase(id_);
    }

    NodeMetrics& m_;
    const ExecutionId& id_;
};

void NodeMetrics::onEvents(const ExecutionId& id, const std::vector<Event>& events) {
    std::lock_guard lock(mutex_);
    EventCounter counter(*this, id);
    for (const auto& event : events)
        std::visit(counter, event.data);
}

void NodeMetrics::onAnswered(const net::Answered& answered) {
    bool known = std::ranges::find(kMethods, answered.method) != kMethods.end();
    auto route = answered.route.empty() ? std::string_view("other") : answered.route;
    requests_.add({known ? answered.method : "other", route, std::to_string(answered.status)});
    request_seconds_.observe({route}, static_cast<double>(answered.us) / 1e6);
}

std::string NodeMetrics::text(const NodeState& now) {
    executions_.set({"running"}, static_cast<double>(now.running));
    executions_.set({"pending"}, static_cast<double>(now.pending));
    queue_.set({}, static_cast<double>(now.pending));
    streams_.set({}, static_cast<double>(now.streams));
    connections_.set({}, static_cast<double>(now.connections));
    ready_.set({}, now.ready ? 1 : 0);
    return registry_.text();
}

}  // namespace aegis::telemetry
