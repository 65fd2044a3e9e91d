// From recorded events back to what must have happened.

#include <algorithm>

#include "runner/replay_guess.h"

namespace aegis::runner {

using namespace execution;

namespace {

using Inputs = std::vector<InputData>;

/// One overload for each event that can be the first of a decision.
class Guess {
  public:
    Guess(const State& state, const std::deque<Event>& ahead, const BodyRef& prompt)
        : s_(state), ahead_(ahead), prompt_(prompt), sandbox_(currentSandbox(state)) {}

    Inputs operator()(const ExecutionCreated& d) const { return {Create{d}}; }
    Inputs operator()(const CancelRequested& d) const { return {Cancel{d.reason}}; }
    Inputs operator()(const EffectLost&) const { return {Recovered{}}; }
    Inputs operator()(const ExecutionResumed&) const { return {Recovered{}}; }
    Inputs operator()(const ExecutionStarted&) const { return {Admitted{}}; }
    Inputs operator()(const VolumeAttached&) const {
        VolumesReady ready;
        for (const auto& event : ahead_) {
            const auto* attached = std::get_if<VolumeAttached>(&event.data);
            if (attached == nullptr) break;
            ready.volumes.push_back(*attached);
        }
        return {std::move(ready)};
    }
    Inputs operator()(const IterationStarted&) const {
        return {SandboxClosed{sandbox_, false, {}}, VolumesReady{}};
    }
    Inputs operator()(const SandboxStarted& d) const { return {SandboxUp{sandbox_, d}}; }
    Inputs operator()(const LlmCallStarted& d) const {
        return {GuestGenerate{sandbox_, d.request_id, d.prompt, d.model_alias, d.format}};
    }
    Inputs operator()(const LlmCallCompleted& d) const { return {ModelAnswered{d}}; }
    Inputs operator()(const LlmCallFailed& d) const { return {ModelFailed{d}}; }
    Inputs operator()(const ToolCallStarted& d) const {
        return {
            admitted(d.conversation, d.turn, d.index, d.tool, d.summary, d.dispatch_id, d.barrier)};
    }
    Inputs operator()(const ToolCallDenied& d) const {
        ToolAdmitted input =
            admitted(d.conversation, d.turn, d.index, d.tool, d.summary, {}, false);
        input.refused = true;
        input.reason = d.reason;
        input.result = d.result;
        return {std::move(input)};
    }
    Inputs operator()(const ToolCallCompleted& d) const {
        for (const auto& c : s_.conversations) {
            if (c.turns.empty() || !c.turns.back().current) continue;
            const auto& run = *c.turns.back().current;
            if (run.call == d.call && !run.dispatch_id.empty())
                return {GuestDispatchResult{sandbox_, run.dispatch_id, d}};
        }
        return {ToolFinished{d}};
    }
    Inputs operator()(const OutputAppended& d) const {
        auto at = std::ranges::find_if(s_.conversations,
                                       [](const Conversation& c) { return c.calling > 0; });
        if (at == s_.conversations.end()) return {};
        return {ModelDelta{at->calling, d.text}};
    }
    Inputs operator()(const IterationCompleted& d) const {
        BootstrapEnded ended{sandbox_,          d.exit_code,      d.failure, d.output,
                             d.standard_output, d.standard_error, d.error};
        Inputs out{ended};
        if (d.failure.code.empty()) return out;
        ended.failure = {};
        out.emplace_back(ended);  // the rules call its exit code a failure
        for (bool fatal : {true, false})
            out.emplace_back(SandboxFailed{sandbox_, d.failure, fatal});
        addTimers(out);
        addGenerate(out);
        return out;
    }
    Inputs operator()(const ValidationCompleted& d) const {
        return {Validated{s_.iteration, s_.sandbox, d}};
    }
    Inputs operator()(const BudgetExceeded&) const {
        Inputs out;
        addGenerate(out);
        for (std::size_t i = 0; i < s_.conversations.size(); ++i) {
            const auto& turns = s_.conversations[i].turns;
            if (turns.empty() || turns.back().current) continue;
            out.emplace_back(admitted(static_cast<int>(i), static_cast<int>(turns.size()) - 1,
                                      static_cast<int>(turns.back().results.size()), {}, {}, {},
                                      false));
        }
        return out;
    }
    Inputs operator()(const OutcomeDecided& d) const {
        Inputs out{SandboxFailed{sandbox_, d.failure, true}};
        for (bool last : {false, true})
            out.emplace_back(SandboxClosed{sandbox_, last, d.failure});
        addTimers(out);
        return out;
    }
    Inputs operator()(const VolumeQuotaExceeded& d) const { return {QuotaExceeded{d}}; }
    Inputs operator()(const VolumeDetached&) const { return closed(); }
    Inputs operator()(const ExecutionCompleted&) const { return closed(); }
    Inputs operator()(const ExecutionFailed&) const { return closed(); }
    Inputs operator()(const ExecutionCancelled&) const { return closed(); }
    // Never the first of a decision, or not of the rules' making.
    Inputs operator()(const IterationRefining&) const { return {}; }
    Inputs operator()(const EgressDecided&) const { return {}; }

  private:
    static ToolAdmitted admitted(int conversation, int turn, int index, std::string tool,
                                 std::string summary, std::string dispatch_id, bool barrier) {
        ToolAdmitted input;
        input.conversation = conversation;
        input.turn = turn;
        input.index = index;
        input.tool = std::move(tool);
        input.summary = std::move(summary);
        input.dispatch_id = std::move(dispatch_id);
        input.barrier = barrier;
        return input;
    }
    Inputs closed() const {
        // Where death could not be proven the volumes stay, and why is not in the record.
        Failure unproven{std::string(failure_code::kSandboxError), "not recorded"};
        return {SandboxClosed{sandbox_, true, {}}, SandboxClosed{sandbox_, true, unproven},
                SandboxFailed{sandbox_, {}, true}};
    }
    void addTimers(Inputs& out) const {
        EffectKey timer;
        timer.kind = EffectKey::Kind::kTimer;
        timer.at = s_.deadline;
        out.emplace_back(TimerFired{timer});
        timer.iteration = s_.iteration;
        timer.at = s_.iteration_deadline;
        out.emplace_back(TimerFired{timer});
    }
    /// A request for which no call of the model began leaves no trace of itself.
    void addGenerate(Inputs& out) const {
        for (const auto& c : s_.conversations) {
            if (c.want_call)
                out.emplace_back(
                    GuestGenerate{sandbox_, c.request_id, c.prompt, c.model_alias, c.format});
        }
        out.emplace_back(GuestGenerate{sandbox_, "not recorded", prompt_, s_.model_alias});
    }

    const State& s_;
    const std::deque<Event>& ahead_;
    const BodyRef& prompt_;
    int sandbox_;
};

}  // namespace

std::vector<InputData> possibleInputs(const State& state, const std::deque<Event>& ahead,
                                      const BodyRef& prompt) {
    if (ahead.empty()) return {};
    return std::visit(Guess(state, ahead, prompt), ahead.front().data);
}

}  // namespace aegis::runner
