// Tool calls that the daemon looks at and runs itself.

#include <fmt/format.h>

#include "base/ids.h"
#include "runner/effects.h"

namespace aegis::runner {

using namespace execution;

namespace {

BodyRef answerOf(const Actor& actor, const EffectKey& key) {
    const auto& c = actor.state().conversations[static_cast<std::size_t>(key.conversation)];
    return c.turns[static_cast<std::size_t>(key.turn)].answer;
}

ports::ToolContext contextOf(const Actor& actor, int sandbox) {
    return {{actor.context().id, sandbox}, actor.context().manifest, {}, {}};
}

void look(const std::shared_ptr<Actor>& actor, const EffectKey& key, const BodyRef& answer) {
    auto& deps = actor->deps();
    ToolAdmitted input;
    input.conversation = key.conversation;
    input.turn = key.turn;
    input.index = key.index;
    ports::ToolAdmission admission;
    auto call = loadToolCall(deps, actor->context().id, answer, key.index);
    if (call) {
        input.tool = call->name;
        admission = deps.tools.admit(contextOf(*actor, key.sandbox), *call);
    } else {
        admission.reason = call.error().message;
    }
    input.summary = admission.summary;
    input.barrier = admission.barrier;
    input.refused = admission.verdict == ports::ToolAdmission::Verdict::kRefused;
    std::vector<ports::Body> bodies;
    if (input.refused) {
        input.reason = admission.reason;
        bodies.push_back(ports::makeBody(fmt::format("error: {}", admission.reason)));
        input.result = bodies.back().ref;
    }
    if (admission.verdict == ports::ToolAdmission::Verdict::kDispatch) {
        input.dispatch_id = Id<struct DispatchTag>::generate(deps.random).str();
        actor->run([actor, id = input.dispatch_id, command = std::move(admission.dispatch)] {
            actor->rememberDispatch(id, command);
        });
    }
    actor->post(std::move(input), std::move(bodies));
}

void report(const std::shared_ptr<Actor>& actor, const EffectKey& key, ports::ToolOutcome outcome,
            std::int64_t ms) {
    ToolFinished input;
    input.data.call = key.call;
    input.data.ok = outcome.ok;
    input.data.exit_code = outcome.exit_code;
    input.data.summary = std::move(outcome.summary);
    input.data.reason = std::move(outcome.reason);
    input.data.duration_ms = ms;
    auto body = ports::makeBody(std::move(outcome.text));
    input.data.result = body.ref;
    if (!input.data.ok) reportFullVolumes(actor);
    actor->post(std::move(input), {std::move(body)});
}

}  // namespace

std::function<void()> admitTool(const std::shared_ptr<Actor>& actor, const EffectKey& key) {
    auto answer = answerOf(*actor, key);
    actor->deps().work([actor, key, answer] { look(actor, key, answer); });
    return [] {};
}

std::function<void()> runTool(const std::shared_ptr<Actor>& actor, const EffectKey& key) {
    auto answer = answerOf(*actor, key);
    auto until = actor->state().iteration_deadline;
    std::stop_source ending;
    actor->deps().work([actor, key, answer, until, stop = ending.get_token()] {
        auto& deps = actor->deps();
        auto call = loadToolCall(deps, actor->context().id, answer, key.index);
        if (!call) {
            ports::ToolOutcome outcome;
            outcome.ok = false;
            outcome.reason = call.error().message;
            outcome.text = fmt::format("error: {}", outcome.reason);
            report(actor, key, std::move(outcome), 0);
            return;
        }
        auto began = deps.clock.boot();
        auto context = contextOf(*actor, key.sandbox);
        context.stop = stop;
        // As many as the tool decides, so not by the lane that may drop them: before its result.
        context.egress = [actor, sandbox = key.sandbox](EgressDecided data) {
            actor->post(EgressNoted{sandbox, std::move(data)});
        };
        deps.tools.run(context, *call, deadlineAt(deps.clock, until),
                       [actor, key, began](ports::ToolOutcome outcome) {
                           auto ms = (actor->deps().clock.boot().ns - began.ns) / 1'000'000;
                           report(actor, key, std::move(outcome), ms);
                       });
    });
    return [ending]() mutable { ending.request_stop(); };
}

}  // namespace aegis::runner
