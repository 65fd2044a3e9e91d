#include "execution/record.h"

#include <algorithm>

namespace aegis::execution {
namespace {

class Viewer {
  public:
    Viewer(RecordView& view, const Event& event) : v_(view), e_(event) {}

    void operator()(const ExecutionCreated& d) {
        v_.status = Status::kPending;
        v_.created = d;
        v_.created_at = e_.time;
    }
    void operator()(const OutcomeDecided& d) {
        v_.output = d.output;
        auto* it = last();
        if (it == nullptr) return;
        if (d.outcome == Outcome::kCompleted) close(*it, "success");
        if (d.outcome == Outcome::kFailed) {
            close(*it, "failed");
            if (it->error.code.empty()) it->error = d.failure;
        }
        if (d.outcome == Outcome::kCancelled && it->status == "running") close(*it, "cancelled");
    }
    void operator()(const EffectLost& d) {
        auto* it = last();
        if (it == nullptr || d.effect != "tool_call") return;
        for (auto& tool : it->tool_calls) {
            if (tool.call == d.call) tool.status = "lost";
        }
    }
    void operator()(const ExecutionStarted&) {
        v_.status = Status::kRunning;
        v_.started_at = e_.time;
    }
    void operator()(const IterationStarted&) {
        IterationView it;
        it.number = e_.iteration;
        it.started_at = e_.time;
        v_.iterations.push_back(std::move(it));
    }
    void operator()(const LlmCallCompleted& d) {
        v_.usage.add(d.usage);
        if (auto* it = last()) it->usage.add(d.usage);
    }
    void operator()(const ToolCallStarted& d) {
        if (auto* it = last()) it->tool_calls.push_back({d.call, d.tool, d.summary});
    }
    void operator()(const ToolCallCompleted& d) {
        auto* it = last();
        if (it == nullptr) return;
        auto tool = std::ranges::find(it->tool_calls, d.call, &ToolView::call);
        if (tool == it->tool_calls.end()) return;
        tool->status = d.ok ? "ok" : "error";
        if (!d.summary.empty()) tool->summary = d.summary;
        tool->reason = d.reason;
        tool->exit_code = d.exit_code;
        tool->duration_ms = d.duration_ms;
    }
    void operator()(const ToolCallDenied& d) {
        auto* it = last();
        if (it == nullptr) return;
        it->tool_calls.push_back({d.call, d.tool, d.summary, "denied", d.reason});
    }
    void operator()(const IterationCompleted& d) {
        auto* it = last();
        if (it == nullptr) return;
        it->ended_at = e_.time;
        it->exit_code = d.exit_code;
        it->standard_output = d.standard_output;
        it->standard_error = d.standard_error;
        it->error = d.failure;
        if (!d.failure.code.empty())
            close(*it, "failed");
        else
            it->output = d.output;
    }
    void operator()(const ValidationCompleted& d) {
        if (auto* it = last()) it->validation = d;
    }
    void operator()(const IterationRefining&) {
        if (auto* it = last()) close(*it, "refining");
    }
    void operator()(const VolumeAttached& d) {
        v_.volumes.push_back({d.volume_id, d.name, d.mount_point});
    }
    void operator()(const ExecutionCompleted& d) { end(Status::kCompleted, d.duration_ms); }
    void operator()(const ExecutionFailed& d) {
        v_.error = d.failure;
        end(Status::kFailed, d.duration_ms);
    }
    void operator()(const ExecutionCancelled& d) { end(Status::kCancelled, d.duration_ms); }
    template <class T>
    void operator()(const T&) {}

  private:
    IterationView* last() { return v_.iterations.empty() ? nullptr : &v_.iterations.back(); }
    void close(IterationView& it, std::string_view status) const {
        it.status = status;
        if (it.ended_at.ms == 0) it.ended_at = e_.time;
    }
    void end(Status status, std::int64_t ms) {
        v_.status = status;
        v_.ended_at = e_.time;
        v_.duration_ms = ms;
    }

    RecordView& v_;
    const Event& e_;
};

}  // namespace

void addToRecord(RecordView& view, const Event& event) {
    view.last_seq = event.seq;
    std::visit(Viewer(view, event), event.data);
}

}  // namespace aegis::execution
