#include "runner/actor.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/log.h"
#include "runner/effects.h"
#include "text/escape.h"

namespace aegis::runner {

using namespace execution;
using aegis::Status;  // not the execution's

namespace {

/// Strongest first: A, B, C, D.
Durability strongest(const std::vector<Event>& events) {
    auto out = Durability::kCoalesced;
    for (const auto& e : events)
        out = std::min(out, durabilityOf(e));
    return out;
}

/// Money that a call may cost is claimed with the event that begins it, until it is settled.
void claimReservations(const ExecutionId& id, const std::vector<OpenReservation>& before,
                       const std::vector<OpenReservation>& after, ports::Batch& batch) {
    auto claim = [&id](const OpenReservation& r) {
        return ports::Claim{"budget", fmt::format("{}/{}/{}", id.str(), r.iteration, r.call)};
    };
    auto in = [](const OpenReservation& r, const std::vector<OpenReservation>& list) {
        return std::ranges::find(list, r) != list.end();
    };
    for (const auto& r : after)
        if (!in(r, before)) batch.acquire.push_back(claim(r));
    for (const auto& r : before)
        if (!in(r, after)) batch.release.push_back(claim(r));
}

bool isTerminalEvent(const Event& e) {
    return std::holds_alternative<ExecutionCompleted>(e.data) ||
           std::holds_alternative<ExecutionFailed>(e.data) ||
           std::holds_alternative<ExecutionCancelled>(e.data);
}

}  // namespace

Actor::Actor(std::shared_ptr<Deps> deps, ExecutionContext context, State state, Ended ended)
    : deps_(std::move(deps)),
      context_(std::move(context)),
      mailbox_(deps_->core.open(std::hash<ExecutionId>{}(context_.id))),
      ended_(std::move(ended)),
      state_(std::move(state)),
      durable_(state_.last_seq),
      barrier_(state_.last_seq) {}

void Actor::post(InputData data, std::vector<ports::Body> bodies) {
    run([self = shared_from_this(), data = std::move(data), bodies = std::move(bodies)]() mutable {
        self->handle(std::move(data), std::move(bodies));
    });
}

void Actor::create(ExecutionCreated data, ports::Body input, Accepted accepted) {
    // Somebody waits for it, and nobody else knows it yet. What follows is not for whoever waits.
    std::function<void()> job = [self = shared_from_this(), data = std::move(data),
                                 input = std::move(input),
                                 accepted = std::move(accepted)]() mutable {
        self->accepted_ = std::move(accepted);
        self->handle(Create{std::move(data)}, {std::move(input)});
    };
    if (!patiently(job, 0)) run(std::move(job));
}

void Actor::run(std::function<void()> job) { deps_->core.postUrgent(mailbox_, std::move(job)); }

const ports::ToolSpecs& Actor::tools() {
    std::call_once(tools_asked_, [this] { tools_ = deps_->tools.offered(*context_.manifest); });
    return tools_;
}

void Actor::here(std::function<void()> job) {
    if (!deps_->core.runHere(mailbox_, job)) run(std::move(job));
}

bool Actor::patiently(const std::function<void()>& job, int more) {
    auto turn = [&] {
        patient_ = true;
        job();
        patient_ = false;
    };
    return deps_->core.runHere(mailbox_, turn, more);
}

void Actor::handle(InputData data, std::vector<ports::Body> bodies) {
    std::vector<InputData> one;
    one.push_back(std::move(data));
    handleAll(std::move(one), std::move(bodies));
}

void Actor::handleAll(std::vector<InputData> inputs, std::vector<ports::Body> bodies) {
    if (halted_) return;
    auto before = state_.last_seq;
    auto reserved = state_.spending.open;
    std::vector<Event> events;
    for (auto& input : inputs) {
        auto more = advance(state_, {deps_->clock.utc(), std::move(input)});
        std::ranges::move(more, std::back_inserter(events));
    }
    for (const auto& body : bodies)
        deps_->bodies.put(body);
    if (!events.empty()) append(std::move(events), std::move(bodies), before, reserved);
    settle();
}

void Actor::append(std::vector<Event> events, std::vector<ports::Body> bodies, std::uint64_t before,
                   const std::vector<OpenReservation>& reserved) {
    ports::Batch batch;
    batch.execution = context_.id;
    batch.expected_seq = before;
    batch.bodies = std::move(bodies);
    batch.row = row();
    batch.durability = strongest(events);
    batch.may_block = patient_;
    for (const auto& event : events) {
        if (durabilityOf(event) <= Durability::kBeforeRelease) barrier_ = event.seq;
        if (std::holds_alternative<ExecutionStarted>(event.data)) {
            for (const auto& lock : context_.locks)
                batch.acquire.push_back({"volume", lock});
        }
        // Volumes that stayed attached are in quarantine: their locks are kept.
        if (isTerminalEvent(event)) batch.release_claims = state_.volumes.empty();
    }
    claimReservations(context_.id, reserved, state_.spending.open, batch);
    if (before == 0) {
        batch.idempotency_key = context_.idempotency_key;
        batch.idempotency_digest = context_.idempotency_digest;
    }
    auto seq = state_.last_seq;
    batch.events = std::move(events);
    deps_->journal.append(
        std::move(batch),
        [self = shared_from_this(), seq, first = before == 0, made = state_.created_at,
         accepted = std::exchange(accepted_, nullptr)](Status status) {
            // Here, in the order of the journal: the core threads may overtake one another.
            if (first && status) self->deps_->scheduler.arrive(self->context_.id);
            if (accepted) accepted(status ? Result<UtcTime>(made) : status.error());
            self->run([self, seq, first, status = std::move(status)] {
                self->committed(seq, first, status);
            });
        });
}

void Actor::committed(std::uint64_t seq, bool first, const Status& status) {
    if (status) {
        durable_ = std::max(durable_, seq);
        settle();
        return;
    }
    if (first) {
        halted_ = true;
        end(End::kRefused);
        return;
    }
    if (halted_) return;
    log(LogLevel::kError, "the journal refused an append; the execution is loaded again",
        {{"execution_id", context_.id.str()}, {"error", status.error().message}});
    halted_ = true;
    cancelAll();
    failGuests("the daemon cannot store its state");
    killSandbox(shared_from_this(), currentSandbox(state_),
                [self = shared_from_this()](const Status&) { self->end(End::kBroken); });
}

void Actor::settle() {
    if (halted_) return;
    auto sandbox = currentSandbox(state_);
    if (sandbox != attached_sandbox_) enterSandbox(sandbox);
    if (state_.phase != Phase::kRunning || state_.outcome) {
        if (state_.phase != Phase::kNeedSandbox || state_.outcome)
            failGuests("the iteration has ended");
    } else {
        retryDeferred();
    }
    reconcile();
    if (!settled()) return;
    answerGuests();
    if (isTerminal(state_.status)) {
        halted_ = true;
        cancelAll();
        end(End::kTerminal);
    }
}

void Actor::reconcile() {
    auto wanted = due(state_);
    std::set<EffectKey> keep(wanted.begin(), wanted.end());
    for (auto it = effects_.begin(); it != effects_.end();) {
        if (keep.contains(it->first)) {
            ++it;
            continue;
        }
        auto cancel = std::move(it->second);
        it = effects_.erase(it);
        cancel();
    }
    if (!settled()) return;
    for (const auto& key : wanted) {
        if (!effects_.contains(key)) effects_[key] = startEffect(shared_from_this(), key);
    }
}

void Actor::cancelAll() {
    auto effects = std::exchange(effects_, {});
    for (auto& [key, cancel] : effects)
        cancel();
}

void Actor::halt(std::function<void()> closed) {
    run([self = shared_from_this(), closed = std::move(closed)] {
        if (self->halted_) {
            closed();
            return;
        }
        self->halted_ = true;
        self->cancelAll();
        for (auto& [conversation, call] : self->waiting_)
            call->fail("daemon_stopping", "the daemon is stopping", true);
        self->waiting_.clear();
        bool open = self->state_.status == execution::Status::kRunning &&
                    self->state_.phase != Phase::kNone;
        killSandbox(self, open ? currentSandbox(self->state_) : 0,
                    [closed](const Status&) { closed(); });
    });
}

void Actor::end(End how) {
    // What runs keeps its place while it is loaded again; what waits asks for one anew.
    // Its start, the second event, may have been refused: a lock that another still claims.
    bool waits = state_.status <= execution::Status::kPending || durable_ < 2;
    if (how != End::kBroken || waits) deps_->scheduler.release(context_.id);
    if (ended_) ended_(context_.id, how);
}

ports::ExecutionRow Actor::row() const {
    ports::ExecutionRow row;
    row.id = context_.id;
    row.agent_id = context_.agent_id;
    row.agent_name = context_.agent_name;
    row.agent_revision = context_.agent_revision;
    row.status = state_.status;
    row.labels = context_.labels;
    row.max_iterations = state_.plan.max_iterations;
    row.total_iterations = state_.iteration;
    row.created_at = state_.created_at;
    row.started_at = state_.started_at;
    row.ended_at = state_.ended_at;
    if (state_.outcome && isTerminal(state_.status)) row.failure = state_.outcome->failure;
    row.usage = state_.usage;
    row.last_seq = state_.last_seq;
    return row;
}

}  // namespace aegis::runner
