#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "runner/fake_ports_for_test.h"

namespace aegis::runner {

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
        runtime_->program = program_;
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
        s.created.plan.budget = budget_;
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
    execution::Status await(const ExecutionId& id) {
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
    std::optional<execution::Budget> budget_;
    std::function<std::string(const ports::SandboxSpec&)> program_;  ///< of the next begin()
    std::unique_ptr<FakeJournal> journal_ = std::make_unique<FakeJournal>();
    FakeRegistry registry_;
    FakeModels models_;
    FakeTools tools_;
    FakeVolumes volumes_;
    std::unique_ptr<FakeRuntime> runtime_;
    std::unique_ptr<Runner> runner_;
};

}  // namespace aegis::runner
