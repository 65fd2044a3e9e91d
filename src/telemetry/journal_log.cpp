#include "telemetry/journal_log.h"

#include <fmt/format.h>

#include "base/log.h"

namespace aegis::telemetry {

using namespace execution;

namespace {

LogField number(std::string_view key, std::int64_t value) {
    return {key, std::to_string(value), true};
}

/// Writes the line of one event, if it changes the state.
class Line {
  public:
    Line(const ExecutionId& id, const AgentId& agent, const Event& event)
        : id_(id), agent_(agent), event_(event) {}

    void operator()(const ExecutionCreated& d) const {
        log(LogLevel::kInfo, "execution accepted",
            {{"execution_id", id_.str()}, {"agent_id", agent_.str()}, {"agent", d.agent_name}});
    }
    void operator()(const ExecutionStarted&) const { say("execution started"); }
    void operator()(const ExecutionResumed&) const { say("execution resumed"); }
    void operator()(const CancelRequested&) const { say("cancel requested"); }
    void operator()(const IterationStarted&) const { iteration("iteration started"); }
    void operator()(const IterationRefining&) const { iteration("iteration refused, refining"); }
    void operator()(const IterationCompleted& d) const {
        if (d.failure.code.empty()) return iteration("iteration completed");
        log(LogLevel::kInfo, "iteration failed",
            {{"execution_id", id_.str()},
             number("iteration", event_.iteration),
             {"code", d.failure.code}});
    }
    void operator()(const ValidationCompleted& d) const {
        log(LogLevel::kInfo, d.passed ? "validation passed" : "validation failed",
            {{"execution_id", id_.str()},
             number("iteration", event_.iteration),
             {"score", fmt::format("{}", d.score), true}});
    }
    void operator()(const EffectLost& d) const {
        log(LogLevel::kWarn, "an effect was lost",
            {{"execution_id", id_.str()},
             number("iteration", event_.iteration),
             {"effect", d.effect}});
    }
    void operator()(const VolumeQuotaExceeded& d) const {
        log(LogLevel::kWarn, "a volume is full", {{"execution_id", id_.str()}, {"volume", d.name}});
    }
    void operator()(const ExecutionCompleted& d) const { end("completed", d.duration_ms, {}); }
    void operator()(const ExecutionCancelled& d) const { end("cancelled", d.duration_ms, {}); }
    void operator()(const ExecutionFailed& d) const {
        end("failed", d.duration_ms, d.failure.code);
    }
    template <class Other>
    void operator()(const Other&) const {}

  private:
    void say(std::string_view what) const {
        log(LogLevel::kInfo, what, {{"execution_id", id_.str()}});
    }
    void iteration(std::string_view what) const {
        log(LogLevel::kInfo, what,
            {{"execution_id", id_.str()}, number("iteration", event_.iteration)});
    }
    void end(std::string_view status, std::int64_t ms, const std::string& code) const {
        auto what = fmt::format("execution {}", status);
        if (code.empty())
            log(LogLevel::kInfo, what, {{"execution_id", id_.str()}, number("duration_ms", ms)});
        else
            log(LogLevel::kInfo, what,
                {{"execution_id", id_.str()}, number("duration_ms", ms), {"code", code}});
    }

    const ExecutionId& id_;
    const AgentId& agent_;
    const Event& event_;
};

}  // namespace

void logEvents(const ExecutionId& id, const AgentId& agent, const std::vector<Event>& events) {
    for (const auto& event : events)
        std::visit(Line(id, agent, event), event.data);
}

void logAnswered(const net::Answered& answered) {
    bool probe = answered.path.starts_with("/health/") || answered.path == "/metrics";
    auto level = probe && answered.status < 400 ? LogLevel::kDebug : LogLevel::kInfo;
    log(level, "request",
        {{"method", std::string(answered.method)},
         {"path", std::string(answered.path)},
         number("status", answered.status),
         {"ms", fmt::format("{:.3f}", static_cast<double>(answered.us) / 1000), true},
         number("bytes", static_cast<std::int64_t>(answered.bytes)),
         {"principal", std::string(answered.principal)},
         {"peer", std::string(answered.peer)}});
}

}  // namespace aegis::telemetry
