#include "runner/runner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runner/runner_fixture_for_test.h"

namespace aegis::runner {
namespace {

using execution::Status;

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

TEST_F(RunnerTest, AStartThatTheJournalRefusesIsTriedAgain) {
    journal_->starts_refused = 1;
    answer("done");
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(count<execution::ExecutionStarted>(id), 1U);
    until([&] { return runner_->running() == 0; });
}

TEST_F(RunnerTest, AVolumeThatBecomesFullWhileAProgramRunsIsToldOnce) {
    manifest_.volumes.emplace_back();
    ports::VolumeRecord full;
    full.id = VolumeId::generate(os::systemRandom());
    full.name = "workspace";
    volumes_.on_write = [&](const ExecutionId& id) {
        volumes_.on_full(id, full);
        volumes_.on_full(id, full);
        volumes_.on_full(ExecutionId::generate(os::systemRandom()), full);
    };
    answer("", {{"1", "cmd.run", "dd"}});
    answer("done");
    auto id = submit(1);
    EXPECT_EQ(await(id), Status::kCompleted);
    EXPECT_EQ(count<execution::VolumeQuotaExceeded>(id), 1U);
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
