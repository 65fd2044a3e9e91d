#include <gtest/gtest.h>

#include <mutex>

#include "base/log.h"
#include "telemetry/journal_log.h"
#include "telemetry/node_metrics.h"
#include "telemetry/registry.h"

namespace aegis::telemetry {

using namespace execution;

namespace {

bool has(const std::string& text, std::string_view line) {
    return text.find(std::string(line) + "\n") != std::string::npos;
}

TEST(Registry, WritesPrometheusText) {
    Registry registry;
    registry.counter("a_total", "With \\ and\nline", {"x"}).add({"q\"\\\n"}, 2.5);
    registry.gauge("b", "B");
    auto& h = registry.histogram("c_seconds", "C", {}, {0.1, 1});
    for (double v : {0.05, 0.1, 0.5, 7.0})
        h.observe({}, v);
    EXPECT_EQ(registry.text(),
              "# HELP a_total With \\\\ and\\nline\n# TYPE a_total counter\n"
              "a_total{x=\"q\\\"\\\\\\n\"} 2.5\n"
              "# HELP b B\n# TYPE b gauge\nb 0\n"
              "# HELP c_seconds C\n# TYPE c_seconds histogram\n"
              "c_seconds_bucket{le=\"0.1\"} 2\nc_seconds_bucket{le=\"1\"} 3\n"
              "c_seconds_bucket{le=\"+Inf\"} 4\nc_seconds_sum 7.65\nc_seconds_count 4\n");
}

TEST(Registry, SeriesAreBounded) {
    Registry registry;
    auto& metric = registry.counter("a_total", "A", {"x"});
    for (int i = 0; i < 2000; ++i)
        metric.add({std::to_string(i)});
    auto text = registry.text();
    EXPECT_TRUE(has(text, "a_total{x=\"499\"} 1"));
    EXPECT_FALSE(has(text, "a_total{x=\"500\"} 1"));
    EXPECT_TRUE(has(text, "a_total{x=\"other\"} 1500"));
}

std::vector<Event> batch(std::vector<EventData> data) {
    std::vector<Event> out;
    for (auto& d : data) {
        Event event;
        event.iteration = 1;
        event.data = std::move(d);
        out.push_back(std::move(event));
    }
    return out;
}

TEST(NodeMetrics, CountsWhatIsCommitted) {
    NodeMetrics metrics("1.0", {1'000'000});
    auto id = *ExecutionId::parse("a1b2c3d4-1111-4000-8000-000000000001");
    LlmCallCompleted answer;
    answer.provider = "gpt";
    answer.model = "m";
    answer.usage = {1, 10, 5, 0.25};
    answer.duration_ms = 200;
    ValidationCompleted refused;
    refused.results = {{"exit_code", true, 1, 1, ""}, {"json_schema", false, 0, 1, ""}};
    IterationCompleted broken;
    broken.failure = {"out_of_memory", "m"};
    metrics.onEvents(
        id, batch({ExecutionCreated{}, ExecutionStarted{}, IterationStarted{},
                   SandboxStarted{"docker", "c", 300}, answer, LlmCallFailed{},
                   IterationCompleted{}, refused, IterationRefining{}, IterationStarted{}, broken,
                   IterationRefining{}, IterationStarted{}, IterationCompleted{}}));
    metrics.onEvents(id, batch({OutcomeDecided{}, ExecutionFailed{3, 1500, {"timeout", ""}}}));
    NodeState now;
    now.pending = 3;
    now.ready = true;
    auto text = metrics.text(now);
    for (auto line :
         {"aegis_executions_created_total 1", "aegis_executions_ended_total{status=\"failed\"} 1",
          "aegis_executions_ended_total{status=\"completed\"} 0",
          "aegis_execution_failures_total{code=\"timeout\"} 1",
          "aegis_executions{status=\"pending\"} 3", "aegis_queue_length 3",
          "aegis_iterations_total{status=\"refining\"} 1",
          "aegis_iterations_total{status=\"failed\"} 2",
          "aegis_validations_total{validator=\"json_schema\",result=\"failed\"} 1",
          "aegis_sandbox_start_seconds_count{runtime=\"docker\"} 1",
          "aegis_sandbox_start_seconds_sum{runtime=\"docker\"} 0.3",
          "aegis_model_calls_total{result=\"failed\"} 1",
          "aegis_model_tokens_total{provider=\"gpt\",model=\"m\",type=\"prompt\"} 10",
          "aegis_model_cost_usd_total{provider=\"gpt\",model=\"m\"} 0.25", "aegis_ready 1",
          "aegis_start_time_seconds 1000"})
        EXPECT_TRUE(has(text, line)) << line << "\n" << text;
}

TEST(NodeMetrics, NoLabelIsARequestsOwnText) {
    NodeMetrics metrics("1.0", {});
    metrics.onAnswered({.method = "BREW", .path = "/secret", .status = 405, .us = 1500});
    metrics.onAnswered({.method = "GET",
                        .path = "/v1/agents/x",
                        .route = "/v1/agents/{agent}",
                        .status = 200,
                        .us = 900});
    auto text = metrics.text({});
    EXPECT_TRUE(has(text,
                    "aegis_http_requests_total{method=\"other\",route=\"other\","
                    "status=\"405\"} 1"));
    EXPECT_TRUE(has(text,
                    "aegis_http_requests_total{method=\"GET\",route=\"/v1/agents/{agent}\","
                    "status=\"200\"} 1"));
    EXPECT_EQ(text.find("secret"), std::string::npos);
}

/// Keeps the lines as "LEVEL message key=value …".
class Kept : public LogSink {
  public:
    Kept() { setLogSink(this); }
    ~Kept() override { setLogSink(nullptr); }
    void write(LogLevel level, std::string_view message,
               std::initializer_list<LogField> fields) override {
        std::string line = std::to_string(static_cast<int>(level)) + " " + std::string(message);
        for (const auto& f : fields)
            line += " " + std::string(f.key) + "=" + f.value;
        lines.push_back(line);
    }
    std::vector<std::string> lines;
};

TEST(JournalLog, OneLineForEachRequestAndChange) {
    Kept kept;
    logAnswered({.method = "GET",
                 .path = "/v1/agents",
                 .principal = "token",
                 .peer = "p",
                 .status = 200,
                 .bytes = 12,
                 .us = 1234});
    logAnswered({.method = "GET", .path = "/health/live", .status = 200});
    logAnswered({.method = "GET", .path = "/health/ready", .status = 503});
    auto id = *ExecutionId::parse("a1b2c3d4-1111-4000-8000-000000000001");
    logEvents(id, {},
              batch({ExecutionStarted{}, OutputAppended{"model", "secret"},
                     ExecutionFailed{1, 7, {"timeout", "secret"}}}));
    ASSERT_EQ(kept.lines.size(), 4U);
    EXPECT_EQ(kept.lines[0],
              "1 request method=GET path=/v1/agents status=200 ms=1.234 bytes=12 principal=token "
              "peer=p");
    EXPECT_TRUE(kept.lines[1].starts_with("1 request method=GET path=/health/ready status=503"));
    EXPECT_EQ(kept.lines[2], "1 execution started execution_id=" + id.str());
    EXPECT_EQ(kept.lines[3],
              "1 execution failed execution_id=" + id.str() + " duration_ms=7 code=timeout");
}

}  // namespace
}  // namespace aegis::telemetry
