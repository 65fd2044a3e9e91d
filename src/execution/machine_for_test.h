#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "execution/input.h"

namespace aegis::execution {

/// Feeds inputs to the core as the runner does, keeping the log.
class Machine {
  public:
    explicit Machine(Plan plan = {}) {
        ExecutionCreated created;
        created.agent_name = "a";
        created.plan = plan;
        created.model_alias = "default";
        feed(Create{created});
    }
    std::size_t feed(InputData data) {
        const Input input{{++now}, std::move(data)};
        auto advanced = state;
        auto events = decide(state, input);
        EXPECT_EQ(advance(advanced, input).size(), events.size());
        for (auto& e : events) {
            EXPECT_EQ(e.seq, log.size() + 1);
            apply(state, e);
            log.push_back(e);
        }
        EXPECT_EQ(advanced, state);
        checkIndexes();
        return events.size();
    }
    /// What finds conversations quickly finds the same as looking at all of them.
    void checkIndexes() const {
        std::vector<std::size_t> open;
        for (std::size_t i = 0; i < state.conversations.size(); ++i) {
            const auto& c = state.conversations[i];
            if (!c.finished()) open.push_back(i);
            EXPECT_EQ(conversationOf(state, c.request_id), i);
            if (c.calling > 0) {
                EXPECT_EQ(conversationCalling(state, c.calling), i);
            }
        }
        EXPECT_EQ(state.open, open);
    }
    template <class T>
    const T* last() const {
        for (auto it = log.rbegin(); it != log.rend(); ++it) {
            if (const auto* data = std::get_if<T>(&it->data)) return data;
        }
        return nullptr;
    }
    template <class T>
    std::size_t count() const {
        return static_cast<std::size_t>(std::ranges::count_if(
            log, [](const Event& e) { return std::holds_alternative<T>(e.data); }));
    }
    bool isDue(EffectKey::Kind kind) const {
        return std::ranges::any_of(due(state), [&](const EffectKey& k) { return k.kind == kind; });
    }
    void up() { feed(SandboxUp{currentSandbox(state), {"fake", "x", 1}}); }
    void generate(const std::string& request = "r", std::uint64_t prompt_bytes = 1) {
        feed(GuestGenerate{state.sandbox, request, {"p", prompt_bytes}, "default"});
    }
    void answer(int tools, Usage usage = {}) {
        LlmCallCompleted data;
        data.usage = usage;
        data.call = state.model_calls;
        data.tool_calls = tools;
        data.answer = {"a" + std::to_string(now), 1};
        feed(ModelAnswered{data});
    }
    void bootstrapEnds(int code) {
        BootstrapEnded end;
        end.sandbox = state.sandbox;
        end.exit_code = code;
        end.output = {"out", 3};
        feed(end);
    }
    void validated(bool passed) {
        Validated v;
        v.iteration = state.iteration;
        v.sandbox = state.sandbox;
        v.data.passed = passed;
        v.data.error = {"err", 3};
        v.data.results = {{"json_schema", passed, passed ? 1.0 : 0.0, 1, passed ? "" : "/: bad"}};
        feed(v);
    }
    void closed(bool last) { feed(SandboxClosed{currentSandbox(state), last, {}}); }

    State state;
    std::vector<Event> log;
    std::int64_t now = 1000;
};

inline Plan onePlan(int iterations) {
    Plan plan;
    plan.max_iterations = iterations;
    return plan;
}

}  // namespace aegis::execution
