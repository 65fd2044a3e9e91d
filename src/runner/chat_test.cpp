// Calls in other APIs' formats: one turn each, told to whoever asks, bought once.

#include <gtest/gtest.h>

#include "runner/runner_fixture_for_test.h"

namespace aegis::runner {
namespace {

using execution::Status;
using Kind = GuestMessage::Kind;

class ChatTest : public RunnerTest {
  protected:
    static json::Object prompt(const std::string& text) {
        return {
            {"format", "openai"},
            {"messages", json::Array{json::Object{{"role", "user"}, {"content", text}}}},
            {"tools", json::Array{json::Object{
                          {"name", "add"}, {"description", ""}, {"parameters", json::Object{}}}}},
            {"max_tokens", 50}};
    }
    /// Asks, and does not wait.
    GuestCallPtr ask(const ports::SandboxSpec& spec, const std::string& text,
                     const std::string& alias = "default") {
        auto call = std::make_shared<GuestCall>();
        runtime_->runner->chat(spec.id, "openai", alias, prompt(text), call);
        return call;
    }
    /// The closing message; as the guest API does, the answer counts as delivered.
    static GuestMessage end(const GuestCallPtr& call, bool delivered = true) {
        auto& clock = os::systemClock();
        while (auto message = call->next(Deadline::in(clock.boot(), 20'000), clock)) {
            if (message->kind == Kind::kDelta) continue;
            call->setDelivered(delivered);
            call->abandon();
            return *message;
        }
        return {};
    }
    static std::string contentOf(const GuestMessage& message) {
        auto answer = json::parse(message.content);
        return answer ? std::string(json::getString(*answer, "content")) : message.code;
    }
    std::string says(const ports::SandboxSpec& spec, const std::string& text) {
        return contentOf(end(ask(spec, text)));
    }
    /// The sandbox runs `program` instead of the bootstrap.
    void run(std::function<std::string(const ports::SandboxSpec&)> program) {
        finish();
        program_ = std::move(program);
        begin();
    }
    std::string output(const ExecutionId& id) {
        auto events = journal_->events(id, 0, 10'000);
        for (const auto& e : *events)
            if (const auto* d = std::get_if<execution::IterationCompleted>(&e.data))
                return *journal_->body(id, d->output);
        return {};
    }
};

TEST_F(ChatTest, ToolCallsGoToTheGuestAndStdoutIsTheOutput) {
    answer("one", {{"c1", "add", "{}"}});
    manifest_.runtime.max_tokens = 20;
    run([this](const auto& spec) {
        auto message = end(ask(spec, "hello"));
        EXPECT_EQ(message.kind, Kind::kFinal);
        auto body = *json::parse(message.content);
        EXPECT_EQ(body.at("tool_calls").as_array().size(), 1U);
        EXPECT_TRUE(body.at("usage").is_object());
        return std::string("printed");
    });
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(output(id), "printed") << "not the model's words";
    EXPECT_EQ(count<execution::ToolCallStarted>(id), 0U);
    EXPECT_EQ(count<execution::LlmCallCompleted>(id), 1U);
    ASSERT_EQ(models_.requests.size(), 1U);
    EXPECT_EQ(models_.requests[0].tools[0].name, "add");
    EXPECT_EQ(models_.requests[0].max_tokens, 20) << "the manifest's limit is the lower one";
}

TEST_F(ChatTest, NothingFinalBeforeTheAnswerIsDurable) {
    answer("hello back");
    run([this](const auto& spec) {
        journal_->hold_answers = true;
        auto call = ask(spec, "hello");
        until([&] { return journal_->holds(); });
        // Whatever the actor does for that answer it has done when this has been refused.
        end(ask(spec, "anything", "no-such-alias"));
        EXPECT_TRUE(call->open()) << "the closing message has not been pushed";
        journal_->release();
        return contentOf(end(call));
    });
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(output(id), "hello back");
}

TEST_F(ChatTest, OnlyTheExecutionsAlias) {
    run([this](const auto& spec) {
        auto message = end(ask(spec, "hello", "gpt-4"));
        EXPECT_EQ(message.error, ErrorCode::kNotFound);
        EXPECT_NE(message.message.find("default"), std::string::npos);
        return std::string();
    });
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(asked(), 0U);
}

TEST_F(ChatTest, AFailureIsToldAndTheIterationGoesOn) {
    models_.answers.push_back(Error(ErrorCode::kTooMany, "slow down"));
    answer("better");
    run([this](const auto& spec) {
        auto message = end(ask(spec, "hello"));
        EXPECT_EQ(message.kind, Kind::kError);
        EXPECT_EQ(message.error, ErrorCode::kTooMany);
        EXPECT_EQ(message.retry_after_ms, 5000);
        return says(spec, "hello");
    });
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(output(id), "better");
    EXPECT_EQ(count<execution::LlmCallFailed>(id), 1U);
}

TEST_F(ChatTest, AnAnswerThatNobodyGotIsNotBoughtAgain) {
    for (const auto* text : {"one", "two", "three"})
        answer(text);
    run([this](const auto& spec) {
        EXPECT_EQ(contentOf(end(ask(spec, "hello"), false)), "one") << "but the client is gone";
        EXPECT_EQ(says(spec, "hello"), "one") << "the recorded answer";
        EXPECT_EQ(says(spec, "hello"), "two") << "asked anew";
        return says(spec, "something else");
    });
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(output(id), "three");
    EXPECT_EQ(count<execution::LlmCallStarted>(id), 3U);
}

TEST_F(ChatTest, TwoWhoAskTheSameAtOnceGetTwoAnswers) {
    run([this](const auto& spec) {
        auto one = ask(spec, "hello");
        auto two = ask(spec, "hello");
        until([&] { return asked() == 2; });
        // The first one's client goes away; whoever sends that again waits for the same call.
        one->abandon();
        auto three = ask(spec, "hello");
        answer("last");
        EXPECT_EQ(says(spec, "another"), "last");
        EXPECT_EQ(asked(), 3U);
        EXPECT_TRUE(two->open());
        EXPECT_TRUE(three->open());
        return std::string("over");
    });
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kCompleted);
}

TEST_F(ChatTest, TheLimitOnModelCallsHolds) {
    for (int i = 0; i < 300; ++i)
        answer("again");
    run([this](const auto& spec) {
        for (int i = 0; i < 300; ++i) {
            auto message = end(ask(spec, std::to_string(i)));
            if (message.kind == Kind::kFinal) continue;
            EXPECT_EQ(message.code, "iteration_ended");
            break;
        }
        return std::string();
    });
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kFailed);
    EXPECT_EQ(journal_->row(id)->failure.code, "model_call_limit");
    EXPECT_EQ(asked(), 200U);
}

TEST_F(ChatTest, AfterACrashWhatIsRecordedIsToldAgainAndWhatWasLostIsAskedAgain) {
    answer("first");
    auto program = [this](const ports::SandboxSpec& spec) {
        auto one = says(spec, "one");
        return one + " " + says(spec, "two");
    };
    run(program);
    auto id = submit(1);
    until([&] { return asked() == 2; });
    finish();
    EXPECT_EQ(journal_->row(id)->status, Status::kRunning);
    answer("second");
    begin();
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(output(id), "first second");
    EXPECT_EQ(models_.prompts, (std::vector<std::string>{"one", "two", "two"}));
    EXPECT_EQ(count<execution::EffectLost>(id), 2U) << "the sandbox and the call in flight";
}

}  // namespace
}  // namespace aegis::runner
