#include "runner/effects.h"

#include "base/assert.h"

namespace aegis::runner {

using namespace execution;

namespace {

std::function<void()> admit(const std::shared_ptr<Actor>& actor) {
    // Leaving the queue is the actor's business when it ends, not of this effect: it stays granted.
    actor->deps().scheduler.request(actor->context().id, actor->context().locks,
                                    [actor](UtcTime at) { actor->post(Admitted{at}); });
    return [] {};
}

std::function<void()> armTimer(const std::shared_ptr<Actor>& actor, const EffectKey& key) {
    auto& timers = actor->deps().timers;
    auto when = deadlineAt(actor->deps().clock, key.at);
    auto id = timers.at(when, [actor, key] { actor->post(TimerFired{key}); });
    return [&timers, id] { timers.cancel(id); };
}

}  // namespace

Deadline deadlineAt(Clock& clock, UtcTime at) {
    return Deadline::in(clock.boot(), std::max<std::int64_t>(0, at.ms - clock.utc().ms));
}

std::function<void()> startEffect(const std::shared_ptr<Actor>& actor, const EffectKey& key) {
    using Kind = EffectKey::Kind;
    switch (key.kind) {
        case Kind::kAdmit: return admit(actor);
        case Kind::kAttachVolumes: return attachVolumes(actor);
        case Kind::kStartSandbox: return startSandbox(actor, key);
        case Kind::kCallModel: return callModel(actor, key);
        case Kind::kAdmitTool: return admitTool(actor, key);
        case Kind::kRunTool: return runTool(actor, key);
        case Kind::kValidate: return validate(actor, key);
        case Kind::kCloseSandbox: return closeSandbox(actor, key);
        case Kind::kTimer: return armTimer(actor, key);
    }
    AEGIS_ASSERT(false);
}

}  // namespace aegis::runner
