#include <gtest/gtest.h>

#include "execution/machine_for_test.h"

namespace aegis::execution {
namespace {

using Kind = EffectKey::Kind;

Machine withBudget(Budget budget) {
    Plan plan = onePlan(3);
    plan.budget = budget;
    Machine m(plan);
    m.feed(Admitted{});
    m.up();
    return m;
}

/// One call of a tool, answered, after which the model is to be asked again.
void useTool(Machine& m, int turn) {
    m.feed(ToolAdmitted{0, turn, 0, "t", "", "", false, false, "", {}});
    m.feed(ToolFinished{{m.state.tool_calls}});
}

Usage usage(std::uint64_t tokens, double usd = 0) { return {1, tokens, 0, usd}; }

void expectExceeded(const Machine& m, std::string_view what) {
    ASSERT_EQ(m.count<BudgetExceeded>(), 1U);
    EXPECT_EQ(m.last<BudgetExceeded>()->what, what);
    EXPECT_FALSE(m.last<BudgetExceeded>()->message.empty());
    ASSERT_TRUE(m.state.outcome);
    EXPECT_EQ(m.state.outcome->outcome, Outcome::kFailed);
    EXPECT_EQ(m.state.outcome->failure.code, failure_code::kBudgetExceeded);
    EXPECT_FALSE(m.isDue(Kind::kCallModel)) << "the call is not made";
    EXPECT_FALSE(m.isDue(Kind::kRunTool));
}

TEST(Budget, ModelCallsEndBeforeTheOneTooMany) {
    Budget budget;
    budget.llm_calls = 2;
    auto m = withBudget(budget);
    m.generate();
    m.answer(1);
    useTool(m, 0);
    EXPECT_TRUE(m.isDue(Kind::kCallModel));
    m.answer(1);
    useTool(m, 1);
    EXPECT_EQ(m.count<LlmCallStarted>(), 2U);
    expectExceeded(m, "llm_calls");
    m.closed(true);
    EXPECT_EQ(m.state.status, Status::kFailed) << "no further iteration is used up";
    EXPECT_EQ(m.last<ExecutionFailed>()->iterations, 1);
}

TEST(Budget, NothingIsAllowedByABudgetOfNothing) {
    for (auto what : {"usd", "tokens", "llm_calls"}) {
        Budget budget;
        if (what == std::string("usd")) budget.usd = 0;
        if (what == std::string("tokens")) budget.tokens = 0;
        if (what == std::string("llm_calls")) budget.llm_calls = 0;
        auto m = withBudget(budget);
        m.generate();
        EXPECT_EQ(m.count<LlmCallStarted>(), 0U);
        expectExceeded(m, what);
    }
}

TEST(Budget, ToolCallsEndBeforeTheOneTooManyAndRefusedOnesAreFree) {
    Budget budget;
    budget.tool_calls = 1;
    auto m = withBudget(budget);
    m.generate();
    m.answer(3);
    m.feed(ToolAdmitted{0, 0, 0, "t", "", "", false, true, "refused", {}});
    m.feed(ToolAdmitted{0, 0, 1, "t", "", "", false, false, "", {}});
    m.feed(ToolFinished{{m.state.tool_calls}});
    m.feed(ToolAdmitted{0, 0, 2, "t", "", "", false, false, "", {}});
    EXPECT_EQ(m.count<ToolCallStarted>(), 1U);
    expectExceeded(m, "tool_calls");
}

TEST(Budget, TheNextCallIsExpectedToBeLikeTheLargestSoFar) {
    Budget budget;
    budget.tokens = 100;
    auto m = withBudget(budget);
    m.generate("r", 400'000);
    EXPECT_EQ(m.last<LlmCallStarted>()->reserved->tokens, 100) << "a guess is at most what is left";
    m.answer(1, usage(40));
    EXPECT_EQ(m.state.spending.settled.tokens, 40);
    useTool(m, 0);
    EXPECT_EQ(m.last<LlmCallStarted>()->reserved->tokens, 40);
    m.answer(1, usage(30));
    useTool(m, 1);
    EXPECT_EQ(m.count<LlmCallStarted>(), 2U) << "70 are used, 40 more would not fit into 100";
    expectExceeded(m, "tokens");
}

TEST(Budget, MoneyIsReservedAndSettled) {
    Budget budget;
    budget.usd = 0.001;
    budget.input_usd_per_mtok = 2;
    auto m = withBudget(budget);
    m.generate("r", 400);
    EXPECT_NEAR(m.last<LlmCallStarted>()->reserved->usd, 101 * 2 / 1e6, 1e-12);
    m.answer(1, usage(10, 0.0004));
    useTool(m, 0);
    m.answer(1, usage(10, 0.0004));
    useTool(m, 1);
    EXPECT_NEAR(m.state.spending.settled.usd, 0.0008, 1e-12);
    EXPECT_EQ(m.count<LlmCallStarted>(), 2U);
    expectExceeded(m, "usd");
}

TEST(Budget, WhatIsNotReportedIsSettledAsReserved) {
    Budget budget;
    budget.tokens = 1000;
    auto m = withBudget(budget);
    m.generate("r", 800);
    auto reserved = m.last<LlmCallStarted>()->reserved->tokens;
    EXPECT_EQ(reserved, 201);
    m.answer(0);
    EXPECT_EQ(m.state.spending.settled.tokens, reserved);
}

TEST(Budget, ALostCallIsSettledAsReserved) {
    Budget budget;
    budget.tokens = 300;
    auto m = withBudget(budget);
    m.generate("r", 800);
    m.feed(Recovered{});
    EXPECT_EQ(m.state.spending.settled.tokens, 201);
    EXPECT_TRUE(m.state.spending.open.empty());
    m.up();
    m.generate("r", 800);
    EXPECT_EQ(m.count<LlmCallStarted>(), 1U) << "99 are left, 201 are expected";
    expectExceeded(m, "tokens");
}

TEST(Budget, ACallThatTheIterationDidNotWaitForIsSettledToo) {
    Budget budget;
    budget.usd = 1;
    budget.input_usd_per_mtok = 1000;
    auto m = withBudget(budget);
    m.generate("r", 400);
    auto reserved = m.last<LlmCallStarted>()->reserved->usd;
    EffectKey timer;
    timer.kind = Kind::kTimer;
    timer.iteration = 1;
    timer.at = m.state.iteration_deadline;
    m.state.deadline.ms += 1000;
    m.feed(TimerFired{timer});
    EXPECT_EQ(m.last<IterationCompleted>()->failure.code, failure_code::kIterationTimeout);
    EXPECT_NEAR(m.state.spending.settled.usd, reserved, 1e-12);
    EXPECT_TRUE(m.state.spending.open.empty());
}

TEST(Budget, WithoutOneNothingIsReserved) {
    Machine m(onePlan(1));
    m.feed(Admitted{});
    m.up();
    m.generate();
    EXPECT_FALSE(m.last<LlmCallStarted>()->reserved);
    EXPECT_TRUE(m.state.spending.open.empty());
}

}  // namespace
}  // namespace aegis::execution
