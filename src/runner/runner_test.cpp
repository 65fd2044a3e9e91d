#include "runner/runner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runner/fake_ports_for_test.h"

namespace aegis::runner {
namespace {

using execution::Status;

/// The real runner over faked ports. A new one on the same journal is the daemon after a crash.
class RunnerTest : public testing::Test {
  protected:
    RunnerTest() {
        manifest_.metadata.name = "a";
        manifest_.metadata.version = "1.0.0";
        manifest_.runtime.image = "image";
        manifest_.task.instruction = "do";
        registry_.record.manifest_json = json::dump(agent::manifestToJson(manifest_));
        begin();
    }
    ~RunnerTest() override { finish(); }

    void begin() {
        RunnerOptions options;
        options.resolve =
            [](const agent::Manifest&) -> Result<std::pair<std::string, std::string>> {
            return std::pair<std::string, std::string>("fake", "image");
        };
        runtime_ = std::make_unique<FakeRuntime>();
        runner_ = std::make_unique<Runner>(RunnerPorts{os::systemClock(),
                                                       os::systemRandom(),
                                                       *journal_,
                                                       registry_,
                                                       models_,
                                                       tools_,
                                                       tools_,
                                                       volumes_,
                                                       {{"fake", runtime_.get()}}},
                                           options);
        runtime_->runner = runner_.get();
        runner_->recover();
        EXPECT_TRUE(agent::manifestFromJson(*json::parse(registry_.record.manifest_json)));
    }
    void finish() {
        if (!runner_) return;
        runner_->shutdown(Deadline::in(os::systemClock().boot(), 10'000));
        runtime_->join();
        runner_.reset();
        runtime_.reset();
    }

    ExecutionId submit(int max_iterations) {
        Submission s;
        s.context.id = ExecutionId::generate(os::systemRandom());
        s.context.manifest = std::make_shared<const agent::Manifest>(manifest_);
        s.context.runtime = runtime_.get();
        s.input = ports::makeBody("{}");
        s.created.input = s.input.ref;
        s.created.plan.max_iterations = max_iterations;
        s.created.model_alias = "default";
        auto id = s.context.id;
        EXPECT_TRUE(runner_->submit(std::move(s)));
        return id;
    }
    void answer(std::string content, std::vector<ports::ToolCall> calls = {}) {
        ports::ModelAnswer a;
        a.content = std::move(content);
        a.tool_calls = std::move(calls);
        models_.answers.push_back(std::move(a));
    }
    std::size_t asked() {
        std::lock_guard lock(models_.mutex);
        return models_.prompts.size();
    }
    template <class F>
    void until(F&& condition) {
        auto deadline = Deadline::in(os::systemClock().boot(), 20'000);
        while (!condition()) {
            ASSERT_FALSE(deadline.passed(os::systemClock().boot()));
            std::this_thread::yield();
        }
    }
    Status await(const ExecutionId& id) {
        until([&] { return execution::isTerminal(journal_->row(id)->status); });
        return journal_->row(id)->status;
    }
    template <class T>
    std::size_t count(const ExecutionId& id) {
        auto events = journal_->events(id, 0, 10'000);
        return static_cast<std::size_t>(std::ranges::count_if(
            *events, [](const auto& e) { return std::holds_alternative<T>(e.data); }));
    }

    agent::Manifest manifest_;
    std::unique_ptr<FakeJournal> journal_ = std::make_unique<FakeJournal>();
    FakeRegistry registry_;
    FakeModels models_;
    FakeTools tools_;
    FakeVolumes volumes_;
    std::unique_ptr<FakeRuntime> runtime_;
    std::unique_ptr<Runner> runner_;
};

TEST_F(RunnerTest, ToolsOfBothKindsThenAnAnswer) {
    answer("", {{"1", "echo", "x"}, {"2", "cmd.run", "ls"}, {"3", "nope", "y"}});
    answer("done");
    auto id = submit(3);
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(tools_.runs, 1);
    EXPECT_EQ(count<execution::ToolCallCompleted>(id), 2U);
    EXPECT_EQ(count<execution::ToolCallDenied>(id), 1U);
    ASSERT_EQ(models_.prompts.size(), 2U);
    EXPECT_NE(models_.prompts[0].find("do"), std::string::npos);
    EXPECT_EQ(models_.prompts[1], "error: unknown tool") << "the last tool's result comes last";
}

TEST_F(RunnerTest, TheErrorIsInTheNextPrompt) {
    runtime_->exit_code = 3;
    answer("one");
    answer("two");
    auto id = submit(2);
    EXPECT_EQ(await(id), Status::kFailed);
    EXPECT_EQ(journal_->row(id)->failure.code, "validation_exhausted");
    ASSERT_EQ(models_.prompts.size(), 2U);
    EXPECT_NE(models_.prompts[1].find("exit code 3, expected 0"), std::string::npos);
}

TEST_F(RunnerTest, AModelsErrorEndsIt) {
    models_.answers.push_back(Error(ErrorCode::kUnauthenticated, "the key was refused", "set it"));
    auto id = submit(5);
    EXPECT_EQ(await(id), Status::kFailed);
    auto row = journal_->row(id);
    EXPECT_EQ(row->failure.code, "model_error");
    EXPECT_NE(row->failure.message.find("the key was refused"), std::string::npos);
    EXPECT_EQ(row->total_iterations, 1);
}

TEST_F(RunnerTest, CancelWhileTheModelThinks) {
    auto id = submit(5);
    until([&] { return asked() == 1; });
    auto soon = Deadline::in(os::systemClock().boot(), 20'000);
    EXPECT_TRUE(runner_->cancel(id, "test", soon));
    EXPECT_EQ(journal_->row(id)->status, Status::kCancelled);
    EXPECT_EQ(runner_->cancel(id, "again", soon).error().code, ErrorCode::kNotFound);
}

TEST_F(RunnerTest, AStoppedDaemonGoesOnWithoutAskingAgain) {
    answer("", {{"1", "cmd.run", "ls"}});
    auto id = submit(5);
    until([&] { return asked() == 2; });
    finish();
    EXPECT_EQ(journal_->row(id)->status, Status::kRunning);
    answer("done");
    begin();
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(models_.prompts.size(), 3U) << "the recorded answer was not bought again";
    EXPECT_EQ(count<execution::ToolCallCompleted>(id), 1U) << "nor the tool run again";
    EXPECT_EQ(journal_->row(id)->total_iterations, 1) << "under the same number";
}

TEST_F(RunnerTest, ManyAtOnce) {
    constexpr int kMany = 100;
    for (int i = 0; i < kMany; ++i)
        answer("ok");
    std::vector<ExecutionId> ids;
    for (int i = 0; i < kMany; ++i)
        ids.push_back(submit(1));
    for (const auto& id : ids)
        EXPECT_EQ(await(id), Status::kCompleted);
    until([&] { return runner_->running() == 0; });
}

}  // namespace
}  // namespace aegis::runner
