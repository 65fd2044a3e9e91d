// Validators: what they read and run in the sandbox, before it goes.

#include <fmt/format.h>

#include <algorithm>
#include <future>

#include "runner/effects.h"
#include "validation/checks.h"

namespace aegis::runner {

using namespace execution;
using validation::Verdict;

namespace {

constexpr std::uint64_t kMaxTargetBytes = 16U << 20U;
constexpr std::uint64_t kMaxSchemaBytes = 1U << 20U;
constexpr std::int64_t kLeastMs = 10'000;

/// Everything one run of the chain needs. Lives on its worker.
struct Scene {
    std::shared_ptr<Actor> actor;
    ports::SandboxId sandbox;
    Deadline deadline;
    std::optional<int> exit_code;
    BodyRef output, standard_output, standard_error;

    Deps& deps() const { return actor->deps(); }
    Result<std::string> body(const BodyRef& ref) const {
        AEGIS_TRY(auto text, deps().bodies.get(actor->context().id, ref));
        return std::string(*text);
    }
    Result<std::string> file(const std::string& path, std::uint64_t limit) const {
        return deps().files.read(sandbox, path, limit, deadline);
    }
};

Verdict check(const Scene& scene, const agent::ExitCodeCheck& c) {
    auto err = scene.body(scene.standard_error);
    if (!err) return validation::unreadable(err.error().message);
    return validation::checkExitCode(c, scene.exit_code, *err);
}

Verdict check(const Scene& scene, const agent::JsonSchemaCheck& c) {
    json::Value schema;
    if (c.schema) {
        schema = *c.schema;
    } else {
        auto text = scene.file(c.schema_path, kMaxSchemaBytes);
        auto parsed = text ? json::parse(*text) : Result<json::Value>(text.error());
        if (!parsed)
            return validation::unreadable(
                fmt::format("schema {}: {}", c.schema_path, parsed.error().message));
        schema = std::move(*parsed);
    }
    bool of_output = c.target_path.empty();
    auto text = of_output ? scene.body(scene.output) : scene.file(c.target_path, kMaxTargetBytes);
    if (!text) return validation::unreadable(text.error().message);
    auto verdict = validation::checkJsonSchema(schema, *text, of_output);
    if (!of_output && verdict.detail.starts_with("not valid JSON"))
        verdict.detail = fmt::format("{}: {}", c.target_path, verdict.detail);
    return verdict;
}

Verdict check(const Scene& scene, const agent::RegexCheck& c) {
    auto text = c.target == "output"   ? scene.body(scene.output)
                : c.target == "stdout" ? scene.body(scene.standard_output)
                : c.target == "stderr" ? scene.body(scene.standard_error)
                                       : scene.file(c.target, kMaxTargetBytes);
    if (!text) return validation::unreadable(text.error().message);
    return validation::checkRegex(c, *text);
}

Verdict check(const Scene& scene, const agent::CommandCheck& c) {
    auto& deps = scene.deps();
    auto deadline = scene.deadline.earlier(Deadline::in(deps.clock.boot(), c.timeout_ms));
    // Shared with the callback, which may come after this thread has given up waiting.
    auto promise = std::make_shared<std::promise<Result<ports::CommandResult>>>();
    auto future = promise->get_future();
    scene.actor->context().runtime->run(
        scene.sandbox, c.command, deadline,
        [promise](Result<ports::CommandResult> result) { promise->set_value(std::move(result)); });
    constexpr std::int64_t kGraceMs = 5000;
    auto patience = std::chrono::milliseconds(deadline.leftMs(deps.clock.boot()) + kGraceMs);
    if (future.wait_for(patience) != std::future_status::ready)
        return validation::checkCommand(c.command, -1, true, {}, {});
    auto result = future.get();
    if (!result)
        return validation::unreadable(
            fmt::format("{}: {}", c.command.front(), result.error().message));
    return validation::checkCommand(c.command, result->exit_code, result->timed_out,
                                    result->standard_output, result->standard_error);
}

Verdict check(const Scene&, const agent::SemanticCheck&) {
    return validation::unreadable("no judge is available on this node");
}
Verdict check(const Scene&, const agent::MultiJudgeCheck&) {
    return validation::unreadable("no judge is available on this node");
}

void runChain(const Scene& scene, const EffectKey& key) {
    validation::Chain chain;
    for (const auto& validator : scene.actor->context().manifest->execution.validation) {
        auto verdict = std::visit([&](const auto& c) { return check(scene, c); }, validator.check);
        if (!chain.add(validator, std::move(verdict))) break;
    }
    Validated input{key.iteration, key.sandbox, chain.result()};
    std::vector<ports::Body> bodies;
    if (!chain.passed()) {
        bodies.push_back(ports::makeBody(chain.errorText()));
        input.data.error = bodies.back().ref;
    }
    scene.actor->post(std::move(input), std::move(bodies));
}

}  // namespace

std::function<void()> validate(const std::shared_ptr<Actor>& actor, const EffectKey& key) {
    const auto& state = actor->state();
    auto& deps = actor->deps();
    Scene scene{actor,
                {actor->context().id, key.sandbox},
                {},
                state.exit_code,
                state.output,
                state.standard_output,
                state.standard_error};
    // An iteration that used up its time still gets a moment to be judged, but not past the
    // execution's.
    auto least = Deadline::in(deps.clock.boot(), kLeastMs);
    auto iteration = deadlineAt(deps.clock, state.iteration_deadline);
    scene.deadline = deadlineAt(deps.clock, state.deadline).earlier(std::max(iteration, least));
    (void)deps.validators.submit([scene, key] { runChain(scene, key); });
    return [] {};
}

}  // namespace aegis::runner
