#include <fmt/format.h>

#include <algorithm>

#include "execution/input.h"

namespace aegis::execution {
namespace {

std::string duration(std::int64_t ms) {
    return ms % 1000 == 0 ? fmt::format("{}s", ms / 1000) : fmt::format("{}ms", ms);
}

/// Collects the events of one decision. Each is applied to the state as it is added, so that a rule
/// sees what the ones before it have already decided.
class Decision {
  public:
    Decision(State& state, UtcTime now) : s_(state), now_(now) {}

    std::vector<Event> take() { return std::move(events_); }

    void operator()(const Create& in) {
        if (s_.status == Status::kNone) add(in.data);
    }
    void operator()(const Admitted& in) {
        if (s_.status != Status::kPending || s_.outcome) return;
        if (in.at.ms > 0) now_ = std::max(in.at, s_.created_at);
        add(ExecutionStarted{{now_.ms + s_.plan.timeout_ms}});
        if (!s_.plan.has_volumes) beginIteration();
    }
    void operator()(const VolumesReady& in);
    void operator()(const SandboxFailed& in);
    void operator()(const SandboxUp& in) {
        if (active() && s_.phase == Phase::kNeedSandbox && isCurrent(in.sandbox))
            add(in.data, in.sandbox);
    }
    void operator()(const BootstrapEnded& in);
    void operator()(const GuestGenerate& in);
    void operator()(const GuestDispatchResult& in);
    void operator()(const ModelDelta& in) {
        constexpr std::size_t kMaxOutputEvents = 256;
        if (running() && calling(in.call) && s_.output_events < kMaxOutputEvents)
            add(OutputAppended{"model", in.text});
    }
    void operator()(const ModelAnswered& in);
    void operator()(const ModelFailed& in);
    void operator()(const ToolAdmitted& in);
    void operator()(const ToolFinished& in) {
        if (!running()) return;
        for (auto c : s_.open) {
            const auto* run = currentTool(c);
            if (run == nullptr || run->call != in.data.call || !run->dispatch_id.empty()) continue;
            completeTool(c, in.data);
            return;
        }
    }
    void operator()(const Validated& in);
    void operator()(const SandboxClosed& in);
    void operator()(const TimerFired& in);
    void operator()(const Cancel& in) {
        if (s_.status == Status::kNone || isTerminal(s_.status) || s_.outcome) return;
        add(CancelRequested{in.reason});
        add(OutcomeDecided{Outcome::kCancelled, {}, {}});
        if (s_.status == Status::kPending) finish();
    }
    void operator()(const Recovered&);
    void operator()(const EgressNoted& in) {
        if (s_.status == Status::kRunning && in.sandbox == s_.sandbox) add(in.data, in.sandbox);
    }
    void operator()(const QuotaExceeded& in) {
        const auto& known = s_.full_volumes;
        bool told = std::ranges::find(known, in.data.volume_id) != known.end();
        if (s_.status == Status::kRunning && !told) add(in.data);
    }

  private:
    void add(EventData data, int sandbox = 0) {
        Event event;
        event.seq = s_.last_seq + 1;
        event.time = now_;
        bool of_iteration = !std::holds_alternative<ExecutionCreated>(data) &&
                            !std::holds_alternative<ExecutionStarted>(data);
        event.iteration = of_iteration ? s_.iteration : 0;
        if (std::holds_alternative<IterationStarted>(data)) ++event.iteration;
        event.sandbox = sandbox > 0 ? sandbox : (s_.sandbox_open ? s_.sandbox : 0);
        event.data = std::move(data);
        apply(s_, event);
        events_.push_back(std::move(event));
    }

    bool active() const { return s_.status == Status::kRunning && !s_.outcome; }
    bool running() const { return active() && s_.phase == Phase::kRunning; }
    bool isCurrent(int sandbox) const { return sandbox == currentSandbox(s_); }
    bool lastIteration() const { return s_.iteration >= s_.plan.max_iterations; }
    bool calling(int call) const { return conversationCalling(s_, call).has_value(); }
    bool oneTurn(int call) const {
        return s_.conversations[*conversationCalling(s_, call)].oneTurn();
    }
    const ToolRun* currentTool(std::size_t conversation) const {
        const auto& turns = s_.conversations[conversation].turns;
        if (turns.empty() || !turns.back().current) return nullptr;
        return &*turns.back().current;
    }

    void beginIteration() {
        std::int64_t end = std::min(s_.deadline.ms, now_.ms + s_.plan.iteration_timeout_ms);
        add(IterationStarted{{end}, s_.next_error});
    }

    /// The iteration broke: the next one begins when its sandbox is gone, unless it was the last.
    void breakIteration(Failure failure, BodyRef error = {}, std::optional<int> exit_code = {},
                        const BootstrapEnded* end = nullptr) {
        IterationCompleted data;
        data.exit_code = exit_code;
        data.failure = failure;
        data.error = std::move(error);
        if (end != nullptr) {
            data.standard_output = end->standard_output;
            data.standard_error = end->standard_error;
        }
        add(std::move(data), currentSandbox(s_));
        if (lastIteration()) fail(std::move(failure));
    }

    void fail(Failure failure) {
        add(OutcomeDecided{Outcome::kFailed, std::move(failure), s_.output});
    }

    /// The call that was about to be made is not; the execution ends at once.
    void exceedBudget(std::string_view what, std::string message) {
        add(BudgetExceeded{std::string(what), message});
        Failure failure{std::string(failure_code::kBudgetExceeded), std::move(message)};
        IterationCompleted data;
        data.failure = failure;
        add(std::move(data), currentSandbox(s_));
        fail(std::move(failure));
    }

    Reservation reservationFor(const Budget& budget, int conversation, const BodyRef& prompt) const;
    bool affords(const Budget& budget, const Reservation& call);

    void startCall(int conversation, const std::string& request_id, const std::string& alias,
                   const BodyRef& prompt, const std::string& format) {
        if (s_.model_calls >= s_.plan.max_model_calls) {
            breakIteration({std::string(failure_code::kModelCallLimit),
                            fmt::format("more than {} model calls in one iteration",
                                        s_.plan.max_model_calls)});
            return;
        }
        std::optional<Reservation> reserved;
        if (s_.plan.budget) {
            reserved = reservationFor(*s_.plan.budget, conversation, prompt);
            if (!affords(*s_.plan.budget, *reserved)) return;
        }
        LlmCallStarted data;
        data.reserved = reserved;
        data.call = s_.model_calls + 1;
        data.conversation = conversation;
        bool is_new = static_cast<std::size_t>(conversation) == s_.conversations.size();
        data.turn =
            is_new ? 0
                   : static_cast<int>(
                         s_.conversations[static_cast<std::size_t>(conversation)].turns.size());
        data.request_id = request_id;
        data.model_alias = alias;
        data.format = format;
        if (data.turn == 0) data.prompt = prompt;
        add(std::move(data));
    }

    void continueConversation(std::size_t at) {
        auto conversation = s_.conversations[at];
        const auto& turn = conversation.turns.back();
        if (static_cast<int>(turn.results.size()) < turn.tool_calls) return;
        startCall(static_cast<int>(at), conversation.request_id, conversation.model_alias,
                  conversation.prompt, conversation.format);
    }

    void completeTool(std::size_t conversation, ToolCallCompleted data) {
        const auto* run = currentTool(conversation);
        data.call = run->call;
        data.tool = run->tool;
        if (data.summary.empty()) data.summary = run->summary;
        add(std::move(data));
        continueConversation(conversation);
    }

    /// The terminal event, once nothing of the execution is alive.
    void finish() {
        int iterations = s_.iteration;
        std::int64_t ms = s_.started_at.ms > 0 ? now_.ms - s_.started_at.ms : 0;
        switch (s_.outcome->outcome) {
            case Outcome::kCompleted:
                add(ExecutionCompleted{iterations, ms});
                break;
            case Outcome::kFailed:
                add(ExecutionFailed{iterations, ms, s_.outcome->failure});
                break;
            case Outcome::kCancelled:
                add(ExecutionCancelled{iterations, ms});
                break;
        }
    }

    State& s_;
    UtcTime now_;
    std::vector<Event> events_;
};

/// Tokens and money that are spoken for.
Reservation committed(const Spending& spending) {
    auto total = spending.settled;
    for (const auto& open : spending.open) {
        total.tokens += open.amount.tokens;
        total.usd += open.amount.usd;
    }
    return total;
}

/// The largest call so far. Before there is one: what the request's size lets expect, which is no
/// knowledge and so never more than there is left.
Reservation Decision::reservationFor(const Budget& budget, int conversation,
                                     const BodyRef& prompt) const {
    constexpr std::uint64_t kBytesPerToken = 4;  // of English and of code, roughly
    if (s_.spending.largest.tokens > 0) return s_.spending.largest;
    auto bytes = prompt.size;
    if (auto at = static_cast<std::size_t>(conversation); at < s_.conversations.size()) {
        for (const auto& turn : s_.conversations[at].turns) {
            bytes += turn.answer.size;
            for (const auto& result : turn.results)
                bytes += result.size;
        }
    }
    Reservation out;
    out.tokens = static_cast<std::int64_t>(bytes / kBytesPerToken) + 1;
    out.usd = static_cast<double>(out.tokens) * budget.input_usd_per_mtok / 1e6;
    auto taken = committed(s_.spending);
    if (budget.tokens)
        out.tokens = std::clamp<std::int64_t>(*budget.tokens - taken.tokens, 0, out.tokens);
    if (budget.usd) out.usd = std::clamp(*budget.usd - taken.usd, 0.0, out.usd);
    return out;
}

bool Decision::affords(const Budget& budget, const Reservation& call) {
    constexpr double kDust = 1e-9;  // of sums of doubles
    auto taken = committed(s_.spending);
    auto calls = s_.spending.llm_calls;
    if (budget.llm_calls && calls >= *budget.llm_calls) {
        exceedBudget("llm_calls",
                     fmt::format("the budget of {} model call{} is used up", *budget.llm_calls,
                                 *budget.llm_calls == 1 ? "" : "s"));
        return false;
    }
    if (budget.tokens &&
        (taken.tokens >= *budget.tokens || taken.tokens + call.tokens > *budget.tokens)) {
        exceedBudget(
            "tokens",
            fmt::format("the budget of {} tokens has {} left; the next model call is "
                        "expected to use {}",
                        *budget.tokens, std::max<std::int64_t>(*budget.tokens - taken.tokens, 0),
                        call.tokens));
        return false;
    }
    if (budget.usd &&
        (taken.usd >= *budget.usd - kDust || taken.usd + call.usd > *budget.usd + kDust)) {
        exceedBudget("usd",
                     fmt::format("the budget of {:.6g} USD has {:.6g} left; the next model "
                                 "call is expected to cost {:.6g}",
                                 *budget.usd, std::max(*budget.usd - taken.usd, 0.0), call.usd));
        return false;
    }
    return true;
}

void Decision::operator()(const VolumesReady& in) {
    if (s_.status != Status::kRunning || s_.volumes_attached) return;
    for (const auto& volume : in.volumes)
        add(volume);
    if (!s_.outcome) beginIteration();
}

void Decision::operator()(const SandboxFailed& in) {
    if (s_.status != Status::kRunning) return;
    if (s_.plan.has_volumes && !s_.volumes_attached) {
        if (!s_.outcome) fail(in.failure);
        finish();
        return;
    }
    bool expected = s_.phase == Phase::kNeedSandbox || s_.phase == Phase::kRunning;
    if (!active() || !expected || !isCurrent(in.sandbox)) return;
    if (in.fatal) {
        IterationCompleted data;
        data.failure = in.failure;
        add(std::move(data), in.sandbox);
        fail(in.failure);
    } else {
        breakIteration(in.failure);
    }
}

void Decision::operator()(const BootstrapEnded& in) {
    if (!running() || !isCurrent(in.sandbox)) return;
    if (!in.failure.code.empty()) {
        breakIteration(in.failure, in.error, in.exit_code, &in);
        return;
    }
    if (in.exit_code.value_or(-1) != 0 && !s_.plan.checks_exit_code) {
        Failure failure{
            std::string(failure_code::kSandboxError),
            fmt::format("the bootstrap exited with code {}", in.exit_code.value_or(-1))};
        breakIteration(std::move(failure), in.error, in.exit_code, &in);
        return;
    }
    IterationCompleted data;
    data.exit_code = in.exit_code;
    data.output = in.output;
    data.standard_output = in.standard_output;
    data.standard_error = in.standard_error;
    add(std::move(data));
    if (!s_.plan.has_validators) add(OutcomeDecided{Outcome::kCompleted, {}, s_.output});
}

void Decision::operator()(const GuestGenerate& in) {
    if (!running() || !isCurrent(in.sandbox)) return;
    auto at = conversationOf(s_, in.request_id);
    if (!at) {
        startCall(static_cast<int>(s_.conversations.size()), in.request_id, in.model_alias,
                  in.prompt, in.format);
    } else if (s_.conversations[*at].want_call) {
        auto c = s_.conversations[*at];
        startCall(static_cast<int>(*at), c.request_id, c.model_alias, c.prompt, c.format);
    }
}

void Decision::operator()(const GuestDispatchResult& in) {
    if (!running() || !isCurrent(in.sandbox)) return;
    for (auto c : s_.open) {
        const auto* run = currentTool(c);
        if (run == nullptr || run->dispatch_id.empty() || run->dispatch_id != in.dispatch_id)
            continue;
        completeTool(c, in.data);
        return;
    }
}

void Decision::operator()(const ModelAnswered& in) {
    if (!running() || !calling(in.data.call)) return;
    bool one_turn = oneTurn(in.data.call);
    add(in.data);
    // With one turn the tools are the guest's own: none of them runs here.
    if (!one_turn && s_.tool_calls + in.data.tool_calls > s_.plan.max_tool_calls) {
        breakIteration(
            {std::string(failure_code::kToolCallLimit),
             fmt::format("more than {} tool calls in one iteration", s_.plan.max_tool_calls)});
    }
}

void Decision::operator()(const ModelFailed& in) {
    if (!running() || !calling(in.data.call)) return;
    bool one_turn = oneTurn(in.data.call);
    add(in.data);
    if (one_turn) return;  // the guest is told, and decides
    IterationCompleted data;
    data.failure = in.data.failure;
    add(std::move(data));
    fail(in.data.failure);
}

void Decision::operator()(const ToolAdmitted& in) {
    auto at = static_cast<std::size_t>(in.conversation);
    if (!running() || in.conversation < 0 || at >= s_.conversations.size()) return;
    const auto& c = s_.conversations[at];
    bool expected = !c.turns.empty() && in.turn == static_cast<int>(c.turns.size()) - 1 &&
                    !c.turns.back().current && in.index < c.turns.back().tool_calls &&
                    in.index == static_cast<int>(c.turns.back().results.size());
    if (!expected) return;
    int call = s_.tool_calls + 1;
    if (in.refused) {
        add(ToolCallDenied{call, in.conversation, in.turn, in.index, in.tool, in.summary, in.reason,
                           in.result});
        continueConversation(at);
        return;
    }
    const auto& budget = s_.plan.budget;
    if (budget && budget->tool_calls && s_.spending.tool_calls >= *budget->tool_calls) {
        exceedBudget("tool_calls",
                     fmt::format("the budget of {} tool call{} is used up", *budget->tool_calls,
                                 *budget->tool_calls == 1 ? "" : "s"));
        return;
    }
    add(ToolCallStarted{call, in.conversation, in.turn, in.index, in.tool, in.summary,
                        in.dispatch_id, in.barrier});
}

void Decision::operator()(const Validated& in) {
    if (!active() || s_.phase != Phase::kValidating || in.iteration != s_.iteration ||
        in.sandbox != s_.sandbox)
        return;
    add(in.data);
    if (in.data.passed) {
        add(OutcomeDecided{Outcome::kCompleted, {}, s_.output});
    } else if (!lastIteration()) {
        add(IterationRefining{in.data.error});
    } else {
        auto bad = std::ranges::find(in.data.results, false, &ValidationResult::passed);
        std::string what = bad == in.data.results.end()
                               ? std::string("validation failed")
                               : fmt::format("{}: {}", bad->validator, bad->detail);
        fail({std::string(failure_code::kValidationExhausted),
              fmt::format("validation failed in the last of {} iteration{}: {}", s_.iteration,
                          s_.iteration == 1 ? "" : "s", what.substr(0, what.find('\n')))});
    }
}

void Decision::operator()(const SandboxClosed& in) {
    if (s_.status != Status::kRunning || !isCurrent(in.sandbox)) return;
    if (!in.failure.code.empty() && !s_.outcome) {
        fail(in.failure);
        return;
    }
    if (s_.outcome && in.last) {
        // Where death could not be proven the volumes stay attached: nobody else may get them.
        if (in.failure.code.empty()) {
            auto volumes = s_.volumes;
            for (const auto& id : volumes)
                add(VolumeDetached{id});
        }
        finish();
    } else if (!s_.outcome && !in.last && s_.phase == Phase::kClosing) {
        beginIteration();
    }
}

void Decision::operator()(const TimerFired& in) {
    if (!active()) return;
    bool open = s_.phase == Phase::kNeedSandbox || s_.phase == Phase::kRunning;
    if (in.timer.iteration == 0) {
        if (in.timer.at != s_.deadline) return;
        Failure failure{
            std::string(failure_code::kTimeout),
            fmt::format("the execution took longer than {}", duration(s_.plan.timeout_ms))};
        if (open || s_.phase == Phase::kValidating) {
            IterationCompleted data;
            data.failure = failure;
            add(std::move(data), currentSandbox(s_));
        }
        fail(std::move(failure));
        return;
    }
    if (!open || in.timer.iteration != s_.iteration || in.timer.at != s_.iteration_deadline) return;
    // The iteration's end never lies behind the execution's; where they meet, the execution's
    // counts.
    if (s_.iteration_deadline == s_.deadline) return;
    breakIteration(
        {std::string(failure_code::kIterationTimeout),
         fmt::format("the iteration took longer than {}", duration(s_.plan.iteration_timeout_ms))});
}

void Decision::operator()(const Recovered&) {
    if (s_.status != Status::kRunning) return;
    auto before = s_;
    if (!s_.outcome) {
        bool open = before.phase == Phase::kRunning || before.phase == Phase::kValidating;
        if (open) {
            for (const auto& c : before.conversations) {
                if (c.calling > 0) add(EffectLost{"llm_call", c.calling});
                if (!c.turns.empty() && c.turns.back().current)
                    add(EffectLost{"tool_call", c.turns.back().current->call});
            }
        }
        if (open || before.phase == Phase::kNeedSandbox)
            add(EffectLost{"sandbox", 0}, currentSandbox(before));
    }
    add(ExecutionResumed{});
}

}  // namespace

std::vector<Event> advance(State& state, const Input& input) {
    Decision decision(state, input.now);
    std::visit(decision, input.data);
    return decision.take();
}

std::vector<Event> decide(const State& state, const Input& input) {
    auto copy = state;
    return advance(copy, input);
}

}  // namespace aegis::execution
