// The guest's side of an actor: requests that wait, their answers, the model's text as it comes.

#include <algorithm>

#include "base/log.h"
#include "runner/actor.h"
#include "runner/effects.h"
#include "text/escape.h"

namespace aegis::runner {

using namespace execution;
using aegis::Status;  // not the execution's

void Actor::generate(int sandbox, proto::guest::GenerateRequest request, ports::Body prompt,
                     GuestCallPtr call) {
    if (auto asked_ns = sandbox_asked_ns_.exchange(0)) {
        log(LogLevel::kDebug, "first request of a sandbox",
            {{"execution_id", context_.id.str()},
             {"us", std::to_string((deps_->clock.boot().ns - asked_ns) / 1000), true}});
    }
    bool posted = deps_->core.post(
        mailbox_, [self = shared_from_this(), sandbox, request = std::move(request),
                   prompt = std::move(prompt), call]() mutable {
            self->handleGenerate({sandbox, std::move(request), std::move(prompt), std::move(call)});
        });
    if (!posted) call->fail("busy", "too many requests at once", true);
}

void Actor::sandboxAsked() { sandbox_asked_ns_ = deps_->clock.boot().ns; }

void Actor::dispatchResult(int sandbox, proto::guest::DispatchResult result, GuestCallPtr call) {
    bool posted = deps_->core.post(
        mailbox_, [self = shared_from_this(), sandbox, result = std::move(result), call]() mutable {
            self->handleDispatchResult(sandbox, std::move(result), std::move(call));
        });
    if (!posted) call->fail("busy", "too many requests at once", true);
}

std::string Actor::effectiveRequestId(const proto::guest::GenerateRequest& request,
                                      const ports::Body& prompt) {
    const auto& all = state_.conversations;
    if (conversationOf(state_, request.request_id) || attached_.size() >= all.size())
        return request.request_id;
    // A guest that numbers its requests at random asks again after a crash: the same prompt, in a
    // sandbox that has not asked about it, is the same conversation.
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (!attached_.contains(static_cast<int>(i)) && all[i].prompt == prompt.ref)
            return all[i].request_id;
    }
    return request.request_id;
}

void Actor::refuse(const GuestCallPtr& call) const {
    if (halted_ && !state_.outcome)
        call->fail("daemon_stopping", "the daemon is stopping", true);
    else
        call->fail("iteration_ended", "the iteration has ended", false);
}

void Actor::handleGenerate(DeferredGenerate asked) {
    bool over = halted_ || state_.outcome || asked.sandbox != currentSandbox(state_);
    if (over || (state_.phase != Phase::kRunning && state_.phase != Phase::kNeedSandbox)) {
        refuse(asked.call);
        return;
    }
    if (state_.phase == Phase::kNeedSandbox) {
        constexpr std::size_t kMaxDeferred = 16;
        if (deferred_.size() >= kMaxDeferred)
            asked.call->fail("busy", "too many requests at once", true);
        else
            deferred_.push_back(std::move(asked));
        return;
    }
    if (!asked.request.model_alias.empty() && asked.request.model_alias != state_.model_alias) {
        asked.call->fail("model_not_allowed",
                         "this execution uses the model alias " + state_.model_alias, false);
        return;
    }
    auto id = effectiveRequestId(asked.request, asked.prompt);
    handle(GuestGenerate{asked.sandbox, id, asked.prompt.ref, state_.model_alias}, {asked.prompt});
    auto at = conversationOf(state_, id);
    if (!at) {
        asked.call->fail("iteration_ended", "the iteration has ended", false);
        return;
    }
    int conversation = static_cast<int>(*at);
    attached_.insert(conversation);
    auto& place = waiting_[conversation];
    if (place && place != asked.call)
        place->fail("superseded", "the request was made again", false);
    place = asked.call;
    settle();
}

void Actor::retryDeferred() {
    auto deferred = std::exchange(deferred_, {});
    for (auto& asked : deferred) {
        run([self = shared_from_this(), asked = std::move(asked)]() mutable {
            self->handleGenerate(std::move(asked));
        });
    }
}

void Actor::handleDispatchResult(int sandbox, proto::guest::DispatchResult result,
                                 GuestCallPtr call) {
    if (halted_ || state_.outcome || state_.phase != Phase::kRunning ||
        sandbox != currentSandbox(state_)) {
        refuse(call);
        return;
    }
    for (std::size_t i = 0; i < state_.conversations.size(); ++i) {
        const auto& c = state_.conversations[i];
        const auto* turn = c.turns.empty() ? nullptr : &c.turns.back();
        bool current = turn != nullptr && turn->current &&
                       turn->current->dispatch_id == result.dispatch_id;
        bool answered = std::ranges::find(c.dispatched, result.dispatch_id) != c.dispatched.end();
        if (!current && !answered) continue;
        waiting_[static_cast<int>(i)] = call;
        if (!current) {
            settle();
            return;
        }
        auto answer = turn->answer;
        int index = turn->current->index;
        deps_->work([self = shared_from_this(), sandbox, answer, index,
                            result = std::move(result)]() mutable {
            self->finishDispatch(sandbox, answer, index, std::move(result));
        });
        return;
    }
    call->fail("unknown_dispatch", "no such dispatch", false);
}

void Actor::finishDispatch(int sandbox, const BodyRef& answer, int index,
                           proto::guest::DispatchResult result) {
    ports::DispatchOutcome outcome{result.exit_code, std::move(result.stdout_text),
                                   std::move(result.stderr_text), result.duration_ms,
                                   result.truncated};
    auto tool = loadToolCall(*deps_, context_.id, answer, index);
    auto finished =
        tool ? deps_->tools.finish(*tool, outcome)
             : ports::ToolOutcome{false, tool.error().message, "", tool.error().message, {}};
    GuestDispatchResult input;
    input.sandbox = sandbox;
    input.dispatch_id = result.dispatch_id;
    input.data.ok = finished.ok;
    input.data.exit_code = finished.exit_code;
    input.data.reason = std::move(finished.reason);
    input.data.summary = std::move(finished.summary);
    input.data.duration_ms = result.duration_ms;
    auto body = ports::makeBody(std::move(finished.text));
    input.data.result = body.ref;
    if (!finished.ok) reportFullVolumes(shared_from_this());
    post(std::move(input), {std::move(body)});
}

void Actor::rememberDispatch(const std::string& id, ports::DispatchCommand command) {
    // A conversation has one dispatch outstanding; those of a few conversations fit.
    constexpr std::size_t kMaxRemembered = 64;
    if (dispatches_.size() >= kMaxRemembered) dispatches_.clear();
    dispatches_[id] = std::move(command);
}

void Actor::answerGuests() {
    if (state_.phase != Phase::kRunning || state_.outcome) return;
    for (auto it = waiting_.begin(); it != waiting_.end();) {
        auto reply = guestReply(state_, it->first);
        if (!reply) {
            ++it;
            continue;
        }
        answer(*reply, it->second);
        it = waiting_.erase(it);
    }
}

void Actor::answer(const GuestReply& reply, const GuestCallPtr& call) {
    if (reply.kind == GuestReply::Kind::kDispatch) {
        GuestMessage message;
        message.kind = GuestMessage::Kind::kDispatch;
        message.dispatch_id = reply.dispatch_id;
        message.command = dispatches_[reply.dispatch_id];
        call->push(std::move(message));
        return;
    }
    auto finish = [self = shared_from_this(), reply, call] {
        auto text = self->deps_->bodies.get(self->context_.id, reply.answer);
        auto answer = text ? json::parse(**text) : Result<json::Value>(text.error());
        if (!answer) {
            call->fail("internal", "the recorded answer cannot be read", false);
            return;
        }
        GuestMessage message;
        message.kind = GuestMessage::Kind::kFinal;
        message.content = std::string(json::getString(*answer, "content"));
        message.tool_calls_executed = reply.tool_calls_executed;
        call->push(std::move(message));
    };
    if (reply.answer.size <= kSmallBytes && deps_->bodies.cached(reply.answer))
        finish();
    else
        deps_->work(std::move(finish));
}

void Actor::failGuests(const std::string& message) {
    auto waiting = std::exchange(waiting_, {});
    for (auto& [conversation, call] : waiting) call->fail("iteration_ended", message, false);
    auto deferred = std::exchange(deferred_, {});
    for (auto& asked : deferred) asked.call->fail("iteration_ended", message, false);
}

void Actor::modelDelta(int call, std::string_view text) {
    {
        std::lock_guard lock(deltas_.mutex);
        deltas_.call = call;
        deltas_.text += text;
        if (std::exchange(deltas_.posted, true)) return;
    }
    run([self = shared_from_this()] { self->drainDeltas(); });
}

void Actor::egress(int sandbox, execution::EgressDecided data) {
    // What does not fit the mailbox is lost, as class D may be: the guest decides how often this
    // happens.
    (void)deps_->core.post(
        mailbox_,
        [self = shared_from_this(), sandbox, data = std::move(data)]() mutable {
            self->handle(execution::EgressNoted{sandbox, std::move(data)}, {});
        });
}

void Actor::drainDeltas() {
    std::string text;
    int call = 0;
    {
        std::lock_guard lock(deltas_.mutex);
        deltas_.posted = false;
        text = std::exchange(deltas_.text, {});
        call = deltas_.call;
    }
    auto at = conversationCalling(state_, call);
    if (text.empty() || halted_ || !at) return;
    auto waiting = waiting_.find(static_cast<int>(*at));
    if (waiting != waiting_.end()) {
        GuestMessage delta;
        delta.kind = GuestMessage::Kind::kDelta;
        delta.content = text;
        waiting->second->push(std::move(delta));
    }
    if (output_call_ != call) output_.clear();
    output_call_ = call;
    output_ += text;
    constexpr std::size_t kFlushBytes = 2048;
    if (output_.size() >= kFlushBytes) flushOutput();
}

void Actor::modelEnded(InputData result, std::vector<ports::Body> bodies) {
    run([self = shared_from_this(), result = std::move(result),
         bodies = std::move(bodies)]() mutable {
        self->drainDeltas();
        self->flushOutput();
        self->handle(std::move(result), std::move(bodies));
    });
}

void Actor::flushOutput() {
    constexpr std::size_t kPieceBytes = 3000;
    auto text = std::exchange(output_, {});
    // What is beyond an iteration's cap of output events is dropped by the core.
    for (std::size_t pieces = 0; !text.empty() && pieces < 256; ++pieces) {
        auto piece = text::headUtf8(text, kPieceBytes);
        if (piece.empty()) break;
        std::string out(piece);
        text.erase(0, out.size());
        handle(ModelDelta{output_call_, std::move(out)}, {});
    }
}

}  // namespace aegis::runner
