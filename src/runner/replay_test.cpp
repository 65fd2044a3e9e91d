#include "runner/replay.h"

#include <gtest/gtest.h>

#include "runner/runner_fixture_for_test.h"

namespace aegis::runner {
namespace {

using execution::BodyRef;
using execution::Event;
using execution::Status;

/// Executions of the real runner over faked ports, replayed as they are and after tampering.
class ReplayTest : public RunnerTest {
  protected:
    void load(const ExecutionId& id) {
        id_ = id;
        until([&] { return execution::isTerminal(journal_->row(id)->status); });
        events_ = *journal_->events(id, 0, 100'000);
        bodies_.clear();
    }
    ReplayReport run() {
        Recording recording{
            id_,
            {},
            manifest_,
            [this](std::uint64_t after) -> Result<std::vector<Event>> {
                std::vector<Event> page;
                for (const auto& e : events_)
                    if (e.seq > after && page.size() < 7) page.push_back(e);
                return page;
            },
            [this](const BodyRef& ref) -> Result<std::shared_ptr<const std::string>> {
                if (ref.empty()) return std::make_shared<const std::string>();
                auto changed = bodies_.find(ref.sha256);
                if (changed != bodies_.end())
                    return std::make_shared<const std::string>(changed->second);
                AEGIS_TRY(auto text, journal_->body(id_, ref));
                return std::make_shared<const std::string>(std::move(text));
            }};
        auto report = replay(recording);
        EXPECT_TRUE(report);
        return std::move(*report);
    }
    void expectClean() {
        auto report = run();
        if (report.divergence) {
            ADD_FAILURE() << report.divergence->what << " at " << report.divergence->seq
                          << "\nrecorded " << report.divergence->recorded << "\nreplayed "
                          << report.divergence->replayed;
        }
        EXPECT_EQ(report.events, events_.size());
        EXPECT_EQ(report.state.status, journal_->row(id_)->status);
        EXPECT_EQ(report.iterations, journal_->row(id_)->total_iterations);
    }
    template <class T>
    T& event(std::size_t n = 0) {
        for (auto& e : events_) {
            if (auto* data = std::get_if<T>(&e.data); data != nullptr && n-- == 0) return *data;
        }
        ADD_FAILURE() << "no such event";
        static T none;
        return none;
    }
    Divergence diverged() {
        auto report = run();
        EXPECT_TRUE(report.divergence);
        return report.divergence.value_or(Divergence{});
    }
    void tools() {
        answer("", {{"1", "echo", "x"}, {"2", "cmd.run", "ls"}, {"3", "nope", "y"}});
        answer("done");
        load(submit(3));
    }
    void refined() {
        manifest_.execution.validation.push_back({agent::RegexCheck{"^two$", "output"}, 1.0, 0.0});
        registry_.record.manifest_json = json::dump(agent::manifestToJson(manifest_));
        answer("one");
        answer("two");
        load(submit(3));
    }

    ExecutionId id_;
    std::vector<Event> events_;
    std::map<std::string, std::string> bodies_;
};

TEST_F(ReplayTest, WhatHappenedHappensAgain) {
    tools();
    expectClean();
    auto report = run();
    EXPECT_EQ(report.prompts, 1U);
    EXPECT_EQ(report.verdicts, 1U);
    EXPECT_GE(report.bodies, 6U);
}

TEST_F(ReplayTest, Refinement) {
    refined();
    EXPECT_EQ(journal_->row(id_)->total_iterations, 2);
    expectClean();
    EXPECT_EQ(run().prompts, 2U) << "the second holds the error of the first";
    EXPECT_EQ(run().verdicts, 4U);
}

TEST_F(ReplayTest, EveryKindOfEnd) {
    runtime_->exit_code = 3;
    answer("one");
    answer("two");
    load(submit(2));
    EXPECT_EQ(journal_->row(id_)->failure.code, "validation_exhausted");
    expectClean();
    models_.answers.push_back(Error(ErrorCode::kUnauthenticated, "refused"));
    load(submit(5));
    EXPECT_EQ(journal_->row(id_)->failure.code, "model_error");
    expectClean();
    auto before = asked();
    auto id = submit(5);
    until([&] { return asked() == before + 1; });
    auto soon = Deadline::in(os::systemClock().boot(), 20'000);
    EXPECT_TRUE(runner_->cancel(id, "test", soon));
    load(id);
    EXPECT_EQ(journal_->row(id_)->status, Status::kCancelled);
    expectClean();
}

TEST_F(ReplayTest, Budgets) {
    for (auto what : {"llm_calls", "tool_calls", "tokens", "nothing"}) {
        budget_ = execution::Budget{};
        if (what == std::string("llm_calls")) budget_->llm_calls = 1;
        if (what == std::string("tool_calls")) budget_->tool_calls = 1;
        if (what == std::string("tokens")) budget_->tokens = 1;
        if (what == std::string("nothing")) budget_->llm_calls = 0;
        answer("", {{"1", "echo", "x"}, {"2", "echo", "y"}});
        if (what == std::string("tokens")) models_.answers.back()->usage.prompt_tokens = 5;
        load(submit(2));
        EXPECT_EQ(journal_->row(id_)->failure.code, "budget_exceeded") << what;
        EXPECT_EQ(event<execution::BudgetExceeded>().what,
                  what == std::string("nothing") ? "llm_calls" : what);
        expectClean();
        std::lock_guard lock(models_.mutex);
        models_.answers.clear();
    }
}

TEST_F(ReplayTest, AfterACrash) {
    answer("", {{"1", "cmd.run", "ls"}});
    auto id = submit(5);
    until([&] { return asked() == 2; });
    finish();
    answer("done");
    begin();
    EXPECT_EQ(await(id), Status::kCompleted);
    load(id);
    EXPECT_GE(count<execution::EffectLost>(id), 2U);
    expectClean();
}

TEST_F(ReplayTest, AMissingEventIsFound) {
    tools();
    auto all = events_;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (std::holds_alternative<execution::OutputAppended>(all[i].data)) continue;
        events_ = all;
        events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(i));
        EXPECT_TRUE(run().divergence) << "without " << typeName(all[i]);
    }
}

TEST_F(ReplayTest, ChangedBodiesAreFoundWhereTheyAreUsed) {
    tools();
    auto prompt = event<execution::LlmCallStarted>().prompt;
    bodies_[prompt.sha256] = R"({"prompt":"other","messages":[]})";
    auto found = diverged();
    EXPECT_EQ(found.what, "body");
    EXPECT_NE(found.recorded.find(prompt.sha256), std::string::npos);
    EXPECT_NE(found.replayed.find("other"), std::string::npos) << found.replayed;
    bodies_.clear();
    bodies_[event<execution::ToolCallCompleted>(1).result.sha256] = "something else";
    found = diverged();
    EXPECT_EQ(found.what, "body");
    EXPECT_EQ(found.seq, [&] {
        for (const auto& e : events_)
            if (std::get_if<execution::ToolCallCompleted>(&e.data) ==
                &event<execution::ToolCallCompleted>(1))
                return e.seq;
        return std::uint64_t{0};
    }());
}

/// Whoever changes a body and its digest with it is found by what the body means.
TEST_F(ReplayTest, ChangedTextsWithFittingDigestsAreFoundToo) {
    tools();
    auto forge = [&](BodyRef& ref, std::string text) {
        auto body = ports::makeBody(std::move(text));
        ref = body.ref;
        bodies_[body.ref.sha256] = *body.bytes;
    };
    auto original = events_;
    forge(event<execution::LlmCallStarted>().prompt, R"({"prompt":"other","messages":[]})");
    auto found = diverged();
    EXPECT_EQ(found.what, "prompt");
    EXPECT_NE(found.recorded.find("other"), std::string::npos);
    EXPECT_NE(found.replayed.find("do"), std::string::npos);

    events_ = original;
    forge(event<execution::LlmCallCompleted>().answer,
          R"({"content":"","tool_calls":[{"id":"1","name":"fs.delete","arguments":"x"},)"
          R"({"id":"2","name":"a","arguments":""},{"id":"3","name":"b","arguments":""}]})");
    found = diverged();
    EXPECT_EQ(found.what, "tool call");
    EXPECT_EQ(found.recorded, "echo");
    EXPECT_EQ(found.replayed, "fs.delete");

    events_ = original;
    forge(event<execution::LlmCallCompleted>(1).answer, R"({"content":"x","tool_calls":[]})");
    EXPECT_EQ(diverged().what, "output");
}

TEST_F(ReplayTest, ChangedScoresAndVerdictsAreFound) {
    refined();
    auto original = events_;
    event<execution::ValidationCompleted>().results[1].score = 1;
    auto found = diverged();
    EXPECT_EQ(found.what, "validation");
    EXPECT_NE(found.recorded, found.replayed);
    events_ = original;
    event<execution::ValidationCompleted>(1).score = 0.5;
    EXPECT_EQ(diverged().what, "validation");
    events_ = original;
    event<execution::ValidationCompleted>().passed = true;
    EXPECT_TRUE(run().divergence);
}

TEST_F(ReplayTest, ChangedEventsAreFound) {
    tools();
    auto original = events_;
    event<execution::OutcomeDecided>().outcome = execution::Outcome::kFailed;
    auto found = diverged();
    EXPECT_EQ(found.what, "event");
    EXPECT_NE(found.recorded.find("failed"), std::string::npos);
    EXPECT_NE(found.replayed.find("completed"), std::string::npos);
    events_ = original;
    event<execution::ExecutionCompleted>().duration_ms += 1;
    EXPECT_EQ(diverged().what, "event");
    events_ = original;
    event<execution::ToolCallStarted>().call = 7;
    EXPECT_EQ(diverged().what, "event");
    events_ = original;
    event<execution::ExecutionStarted>().deadline.ms += 1;
    EXPECT_EQ(diverged().what, "event");
    events_ = original;
    events_.resize(events_.size() - 1);
    EXPECT_EQ(diverged().what, "end");
}

}  // namespace
}  // namespace aegis::runner
