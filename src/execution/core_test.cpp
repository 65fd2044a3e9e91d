#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "execution/machine_for_test.h"

namespace aegis::execution {
namespace {

using Kind = EffectKey::Kind;

TEST(Core, OneIterationCompletes) {
    Machine m(onePlan(3));
    EXPECT_EQ(m.state.status, Status::kPending);
    EXPECT_TRUE(m.isDue(Kind::kAdmit));
    m.feed(Admitted{});
    EXPECT_TRUE(m.isDue(Kind::kStartSandbox));
    m.up();
    m.feed(GuestGenerate{1, "r", {"p", 1}, "default"});
    EXPECT_TRUE(m.isDue(Kind::kCallModel));
    EXPECT_FALSE(guestReply(m.state, 0));
    m.answer(0);
    ASSERT_TRUE(guestReply(m.state, 0));
    EXPECT_EQ(guestReply(m.state, 0)->kind, GuestReply::Kind::kFinal);
    m.bootstrapEnds(0);
    EXPECT_TRUE(m.isDue(Kind::kValidate));
    m.validated(true);
    EXPECT_TRUE(m.isDue(Kind::kCloseSandbox));
    EXPECT_EQ(m.feed(Cancel{"late"}), 0U) << "the outcome is decided once";
    m.closed(true);
    EXPECT_EQ(m.state.status, Status::kCompleted);
    EXPECT_TRUE(due(m.state).empty());
    EXPECT_EQ(m.last<ExecutionCompleted>()->iterations, 1);
}

TEST(Core, RefinesWithTheErrorUntilExhausted) {
    Machine m(onePlan(2));
    m.feed(Admitted{});
    m.up();
    m.bootstrapEnds(0);
    m.validated(false);
    EXPECT_TRUE(m.isDue(Kind::kCloseSandbox));
    EXPECT_EQ(m.count<IterationRefining>(), 1U);
    m.closed(false);
    EXPECT_EQ(m.state.iteration, 2);
    EXPECT_EQ(m.last<IterationStarted>()->previous_error.sha256, "err");
    EXPECT_EQ(currentSandbox(m.state), 2);
    m.up();
    m.bootstrapEnds(1);
    m.validated(false);
    m.closed(true);
    EXPECT_EQ(m.state.status, Status::kFailed);
    EXPECT_EQ(m.last<ExecutionFailed>()->failure.code, failure_code::kValidationExhausted);
}

TEST(Core, ToolsRunInOrderBeforeTheModelIsAskedAgain) {
    Machine m;
    m.feed(Admitted{});
    m.up();
    m.feed(GuestGenerate{1, "r", {"p", 1}, "default"});
    m.answer(3);
    EXPECT_TRUE(m.isDue(Kind::kAdmitTool));
    m.feed(ToolAdmitted{0, 0, 0, "fs.write", "/x", "", false, false, "", {}});
    EXPECT_TRUE(m.isDue(Kind::kRunTool));
    EXPECT_EQ(m.feed(ToolFinished{{9}}), 0U) << "a stale result is dropped";
    m.feed(ToolFinished{{1}});
    m.feed(ToolAdmitted{0, 0, 1, "cmd.run", "ls", "d-1", true, false, "", {}});
    ASSERT_TRUE(guestReply(m.state, 0));
    EXPECT_EQ(guestReply(m.state, 0)->dispatch_id, "d-1");
    EXPECT_FALSE(m.isDue(Kind::kRunTool));
    EXPECT_EQ(m.feed(GuestDispatchResult{1, "d-x", {}}), 0U);
    EXPECT_EQ(m.feed(GuestDispatchResult{2, "d-1", {}}), 0U) << "another sandbox";
    m.feed(GuestDispatchResult{1, "d-1", {}});
    EXPECT_EQ(m.count<LlmCallStarted>(), 1U);
    m.feed(ToolAdmitted{0, 0, 2, "nope", "", "", false, true, "unknown tool", {}});
    EXPECT_EQ(m.count<LlmCallStarted>(), 2U);
    EXPECT_EQ(m.count<ToolCallDenied>(), 1U);
    EXPECT_EQ(m.feed(GuestDispatchResult{1, "d-1", {}}), 0U) << "a repeat changes nothing";
}

TEST(Core, LimitsEndTheIteration) {
    Plan plan = onePlan(2);
    plan.max_tool_calls = 5;
    plan.max_model_calls = 1;
    Machine m(plan);
    m.feed(Admitted{});
    m.up();
    m.feed(GuestGenerate{1, "r", {}, "default"});
    m.answer(6);
    EXPECT_EQ(m.last<IterationCompleted>()->failure.code, failure_code::kToolCallLimit);
    m.closed(false);
    m.up();
    m.feed(GuestGenerate{2, "r2", {}, "default"});
    m.answer(0);
    m.feed(GuestGenerate{2, "r3", {}, "default"});
    EXPECT_EQ(m.last<IterationCompleted>()->failure.code, failure_code::kModelCallLimit);
    m.closed(true);
    EXPECT_EQ(m.last<ExecutionFailed>()->failure.code, failure_code::kModelCallLimit);
}

TEST(Core, ModelErrorEndsTheExecutionAtOnce) {
    Machine m;
    m.feed(Admitted{});
    m.up();
    m.feed(GuestGenerate{1, "r", {}, "default"});
    m.feed(ModelFailed{{1, {"model_error", "401"}, 5}});
    m.closed(true);
    EXPECT_EQ(m.state.status, Status::kFailed);
    EXPECT_EQ(m.state.iteration, 1);
}

TEST(Core, TimersFireOnlyWhereTheyWereArmed) {
    Plan plan = onePlan(2);
    plan.iteration_timeout_ms = 100;
    plan.timeout_ms = 1000;
    Machine m(plan);
    m.feed(Admitted{});
    m.up();
    EffectKey stale;
    stale.kind = Kind::kTimer;
    stale.iteration = 1;
    stale.at = {1};
    EXPECT_EQ(m.feed(TimerFired{stale}), 0U);
    stale.at = m.state.iteration_deadline;
    EXPECT_GT(m.feed(TimerFired{stale}), 0U);
    EXPECT_EQ(m.last<IterationCompleted>()->failure.code, failure_code::kIterationTimeout);
    m.closed(false);
    EXPECT_EQ(m.feed(TimerFired{stale}), 0U) << "the first iteration's";
    EffectKey whole;
    whole.kind = Kind::kTimer;
    whole.at = m.state.deadline;
    m.feed(TimerFired{whole});
    m.closed(true);
    EXPECT_EQ(m.last<ExecutionFailed>()->failure.code, failure_code::kTimeout);
}

TEST(Core, CancelWhilePendingEndsAtOnce) {
    Machine m;
    m.feed(Cancel{"user"});
    EXPECT_EQ(m.state.status, Status::kCancelled);
}

TEST(Core, CancelWhileAttachingDetachesWhatCame) {
    Plan plan;
    plan.has_volumes = true;
    Machine m(plan);
    m.feed(Admitted{});
    m.feed(Cancel{"user"});
    EXPECT_TRUE(m.isDue(Kind::kAttachVolumes));
    VolumesReady ready;
    ready.volumes.push_back({{}, "w", "/w"});
    m.feed(ready);
    EXPECT_EQ(m.state.iteration, 0);
    m.closed(true);
    EXPECT_EQ(m.count<VolumeDetached>(), 1U);
    EXPECT_EQ(m.state.status, Status::kCancelled);
}

TEST(Core, AFullVolumeIsToldOnceInAnIteration) {
    Machine m(onePlan(2));
    m.feed(Admitted{});
    m.up();
    VolumeQuotaExceeded full{{}, "w"};
    EXPECT_EQ(m.feed(QuotaExceeded{full}), 1U);
    EXPECT_EQ(m.feed(QuotaExceeded{full}), 0U);
    m.bootstrapEnds(0);
    m.validated(false);
    m.closed(false);
    EXPECT_EQ(m.feed(QuotaExceeded{full}), 1U);
}

TEST(Core, RecoveryGoesOnWithoutAskingAgain) {
    Machine m;
    m.feed(Admitted{});
    m.up();
    m.feed(GuestGenerate{1, "r", {"p", 1}, "default"});
    m.answer(1);
    m.feed(ToolAdmitted{0, 0, 0, "cmd.run", "ls", "d-1", true, false, "", {}});
    m.feed(Recovered{});
    EXPECT_EQ(m.count<EffectLost>(), 2U);
    EXPECT_EQ(m.state.iteration, 1);
    EXPECT_EQ(currentSandbox(m.state), 2);
    m.up();
    EXPECT_TRUE(m.isDue(Kind::kAdmitTool)) << "the lost tool call is looked at again";
    EXPECT_EQ(m.feed(GuestGenerate{2, "r", {"p", 1}, "default"}), 0U) << "nothing is bought again";
    m.feed(ToolAdmitted{0, 0, 0, "cmd.run", "ls", "d-2", true, false, "", {}});
    m.feed(GuestDispatchResult{2, "d-2", {}});
    EXPECT_EQ(m.count<LlmCallStarted>(), 2U);
    m.feed(Recovered{});
    m.up();
    m.feed(GuestGenerate{3, "r", {"p", 1}, "default"});
    EXPECT_EQ(m.count<LlmCallStarted>(), 3U)
        << "a call in flight is recorded as lost, then repeated";
    EXPECT_EQ(m.last<LlmCallStarted>()->turn, 1);
    m.answer(0);
    EXPECT_EQ(guestReply(m.state, 0)->kind, GuestReply::Kind::kFinal);
}

/// Performs due effects with random results, in random order, with noise and crashes between.
class Chaos {
  public:
    explicit Chaos(unsigned seed) : random_(seed), m_(plan()) {}

    void run() {
        for (int step = 0; step < 600 && !isTerminal(m_.state.status); ++step) {
            bool had_outcome = m_.state.outcome.has_value();
            auto outcome = m_.state.outcome;
            one();
            if (had_outcome) {
                ASSERT_EQ(m_.state.outcome->outcome, outcome->outcome);
            }
            checkInvariants();
        }
        finish();
        EXPECT_TRUE(isTerminal(m_.state.status));
        EXPECT_TRUE(due(m_.state).empty());
        auto events = m_.log.size();
        m_.feed(Cancel{"late"});
        m_.feed(Recovered{});
        m_.bootstrapEnds(0);
        EXPECT_EQ(m_.log.size(), events) << "nothing follows the terminal event";
        State folded;
        for (const auto& e : m_.log)
            apply(folded, e);
        EXPECT_TRUE(folded == m_.state) << "the state is the fold of the log";
    }

  private:
    Plan plan() {
        Plan p = onePlan(1 + pick(4));
        p.has_volumes = pick(2) == 0;
        p.checks_exit_code = pick(2) == 0;
        p.has_validators = pick(4) != 0;
        p.max_model_calls = 1 + pick(6);
        p.max_tool_calls = 1 + pick(6);
        if (pick(2) == 0) p.budget = budget();
        return p;
    }
    Budget budget() {
        Budget b;
        if (pick(2) == 0) b.llm_calls = pick(8);
        if (pick(2) == 0) b.tool_calls = pick(8);
        if (pick(2) == 0) b.tokens = pick(400);
        if (pick(2) == 0) b.usd = pick(400) / 1e6;
        b.input_usd_per_mtok = pick(3);
        return b;
    }
    Usage usage() {
        // Now and then a provider that does not say.
        if (pick(4) == 0) return {1, 0, 0, 0};
        auto tokens = static_cast<std::uint64_t>(pick(50));
        return {1, tokens, tokens, static_cast<double>(tokens) / 1e6};
    }
    int pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

    void one() {
        int dice = pick(40);
        if (dice == 0) m_.feed(Recovered{});
        if (dice == 1)
            m_.feed(SandboxFailed{currentSandbox(m_.state), {"sandbox_error", "x"}, pick(2) == 0});
        if (dice == 2) m_.bootstrapEnds(pick(2));
        if (dice == 3) m_.answer(pick(3), usage());
        if (dice == 4) m_.feed(SandboxUp{pick(4), {}});
        if (dice == 5 && pick(6) == 0) m_.feed(Cancel{"user"});
        if (dice == 6)
            m_.feed(GuestDispatchResult{m_.state.sandbox, "d" + std::to_string(pick(9)), {}});
        if (dice == 7) m_.feed(SandboxClosed{pick(4), pick(2) == 0, {}});
        auto effects = due(m_.state);
        if (!effects.empty())
            perform(effects[static_cast<std::size_t>(pick(static_cast<int>(effects.size())))]);
    }

    void perform(const EffectKey& k) {
        switch (k.kind) {
            case Kind::kAdmit:
                m_.feed(Admitted{});
                break;
            case Kind::kAttachVolumes: {
                VolumesReady ready;
                ready.volumes.push_back({{}, "w", "/w"});
                m_.feed(ready);
                break;
            }
            case Kind::kStartSandbox:
                if (m_.state.phase == Phase::kNeedSandbox) {
                    m_.up();
                } else if (pick(3) == 0) {
                    m_.feed(GuestGenerate{
                        m_.state.sandbox, "r" + std::to_string(pick(2)), {}, "default"});
                } else if (pick(3) == 0) {
                    m_.bootstrapEnds(pick(3) == 0 ? 1 : 0);
                }
                break;
            case Kind::kCallModel: {
                LlmCallCompleted data;
                data.call = k.call;
                data.tool_calls = pick(3);
                data.usage = usage();
                if (pick(30) == 0)
                    m_.feed(ModelFailed{{k.call, {"model_error", "x"}}});
                else
                    m_.feed(ModelAnswered{data});
                break;
            }
            case Kind::kAdmitTool: {
                bool dispatch = pick(2) == 0;
                m_.feed(ToolAdmitted{k.conversation,
                                     k.turn,
                                     k.index,
                                     "t",
                                     "",
                                     dispatch ? "d" + std::to_string(++dispatches_) : "",
                                     dispatch,
                                     pick(5) == 0,
                                     "",
                                     {}});
                if (dispatch)
                    m_.feed(GuestDispatchResult{
                        m_.state.sandbox, "d" + std::to_string(dispatches_), {}});
                break;
            }
            case Kind::kRunTool:
                m_.feed(ToolFinished{{k.call}});
                break;
            case Kind::kValidate:
                m_.validated(pick(3) == 0);
                break;
            case Kind::kCloseSandbox:
                m_.closed(k.last);
                break;
            case Kind::kTimer:
                if (pick(20) == 0) m_.feed(TimerFired{k});
                break;
        }
    }

    void checkInvariants() {
        const auto& s = m_.state;
        ASSERT_LE(s.iteration, s.plan.max_iterations);
        ASSERT_LE(s.model_calls, s.plan.max_model_calls);
        ASSERT_LE(m_.count<OutcomeDecided>(), 1U);
        auto effects = due(s);
        ASSERT_EQ(std::set<EffectKey>(effects.begin(), effects.end()).size(), effects.size());
        ASSERT_EQ(isTerminal(s.status), effects.empty()) << "never stuck";
        for (const auto& k : effects) {
            ASSERT_TRUE(k.kind != Kind::kCallModel || s.phase == Phase::kRunning);
        }
        checkBudget();
        auto started = m_.count<ExecutionStarted>();
        auto ended = m_.count<ExecutionCompleted>() + m_.count<ExecutionFailed>() +
                     m_.count<ExecutionCancelled>();
        ASSERT_LE(started, 1U);
        ASSERT_LE(ended, 1U);
    }

    void checkBudget() {
        const auto& s = m_.state;
        auto calls = static_cast<std::int64_t>(m_.count<LlmCallStarted>());
        ASSERT_EQ(s.spending.llm_calls, calls);
        if (isTerminal(s.status)) {
            ASSERT_TRUE(s.spending.open.empty()) << "all is settled";
        }
        if (m_.count<BudgetExceeded>() > 0) {
            ASSERT_TRUE(s.outcome);
            ASSERT_EQ(s.outcome->failure.code, failure_code::kBudgetExceeded);
        }
        if (!s.plan.budget) return;
        const auto& budget = *s.plan.budget;
        if (budget.llm_calls) {
            ASSERT_LE(calls, *budget.llm_calls);
        }
        if (budget.tool_calls) {
            ASSERT_LE(m_.count<ToolCallStarted>(), static_cast<std::size_t>(*budget.tool_calls));
        }
        // A call may use more than was reserved; one that begins beyond the budget must not be.
        if (m_.log.empty()) return;
        const auto* begun = std::get_if<LlmCallStarted>(&m_.log.back().data);
        if (begun == nullptr) return;
        auto tokens = s.spending.settled.tokens;
        for (const auto& open : s.spending.open)
            tokens += open.amount.tokens;
        if (budget.tokens) {
            ASSERT_LE(tokens, *budget.tokens);
        }
    }

    void finish() {
        if (!isTerminal(m_.state.status)) m_.feed(Cancel{"end"});
        for (int i = 0; i < 5 && !isTerminal(m_.state.status); ++i) {
            for (const auto& k : due(m_.state))
                perform(k);
        }
    }

    std::mt19937 random_;
    Machine m_;
    int dispatches_ = 0;
};

TEST(CoreProperties, RandomOrdersKeepTheInvariants) {
    for (unsigned seed = 0; seed < 2000; ++seed) {
        SCOPED_TRACE(seed);
        Chaos(seed).run();
        if (HasFatalFailure()) return;
    }
}

GuestGenerate chat(const std::string& request) {
    return {1, request, {"p-" + request, 1}, "default", "openai"};
}

TEST(Core, InAnotherFormatAConversationHasOneTurn) {
    Plan plan = onePlan(1);
    plan.max_tool_calls = 2;
    Machine m(plan);
    m.feed(Admitted{});
    m.up();
    m.feed(chat("a"));
    m.feed(chat("b"));
    EXPECT_EQ(m.last<LlmCallStarted>()->format, "openai");
    EXPECT_EQ(m.state.open.size(), 2U) << "both at once";
    m.answer(3);
    EXPECT_EQ(m.count<IterationCompleted>(), 0U) << "its tools are not run here";
    EXPECT_FALSE(m.isDue(Kind::kAdmitTool));
    EXPECT_FALSE(guestReply(m.state, 0));
    ASSERT_TRUE(guestReply(m.state, 1));
    EXPECT_EQ(guestReply(m.state, 1)->kind, GuestReply::Kind::kFinal);
    EXPECT_TRUE(finalAnswer(m.state).empty()) << "no final message: the output is stdout";
    m.feed(ModelFailed{{1, {"model_error", "429"}, 5}});
    EXPECT_EQ(guestReply(m.state, 0)->kind, GuestReply::Kind::kFailed);
    EXPECT_TRUE(m.state.open.empty());
    EXPECT_FALSE(m.state.outcome) << "the guest decides what a failure means";
    m.feed(chat("c"));
    EXPECT_EQ(m.last<LlmCallStarted>()->call, 3);
}

TEST(Core, ALostCallInAnotherFormatIsMadeAgainWhenItIsAskedForAgain) {
    Machine m(onePlan(1));
    m.feed(Admitted{});
    m.up();
    m.feed(chat("a"));
    m.feed(Recovered{});
    EXPECT_EQ(m.count<EffectLost>(), 2U);
    m.up();
    auto again = chat("a");
    again.sandbox = 2;
    m.feed(again);
    EXPECT_EQ(m.count<LlmCallStarted>(), 2U);
    EXPECT_EQ(m.last<LlmCallStarted>()->format, "openai");
    m.answer(0);
    EXPECT_EQ(guestReply(m.state, 0)->kind, GuestReply::Kind::kFinal);
}

}  // namespace
}  // namespace aegis::execution
