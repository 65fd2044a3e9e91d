// The guest's side of an actor: requests that wait, their answers, the model's text as it comes.

#include <algorithm>

#include "base/log.h"
#include "runner/actor.h"
#include "runner/effects.h"
#include "text/escape.h"

namespace aegis::runner {

using namespace execution;
using aegis::Status;  // not the execution's

/// What a guest asks, on its own thread where the actor is idle, to the start of the model call;
/// `call` is told if there is too much of it.
void Actor::take(std::function<void()> job, const GuestCallPtr& call) {
    constexpr int kMore = 2;
    if (patiently(job, kMore) || deps_->core.post(mailbox_, std::move(job))) return;
    call->fail("busy", "too many requests at once", true);
}

void Actor::generate(GuestAsk ask, GuestCallPtr call) {
    if (auto asked_ns = sandbox_asked_ns_.exchange(0)) {
        log(LogLevel::kDebug, "first request of a sandbox",
            {{"execution_id", context_.id.str()},
             {"us", std::to_string((deps_->clock.boot().ns - asked_ns) / 1000), true}});
    }
    std::function<void()> job = [self = shared_from_this(), ask = std::move(ask), call]() mutable {
        self->handleGenerate({std::move(ask), std::move(call)});
    };
    take(std::move(job), call);
}

void Actor::sandboxAsked() { sandbox_asked_ns_ = deps_->clock.boot().ns; }

void Actor::dispatchResult(int sandbox, proto::guest::DispatchResult result, GuestCallPtr call) {
    std::function<void()> job = [self = shared_from_this(), sandbox, result = std::move(result),
                                 call]() mutable {
        self->handleDispatchResult(sandbox, std::move(result), std::move(call));
    };
    take(std::move(job), call);
}

void Actor::enterSandbox(int sandbox) {
    attached_.clear();
    attached_sandbox_ = sandbox;
    askers_.clear();
    failures_.clear();
    chats_.clear();
    for (std::size_t i = 0; i < state_.conversations.size(); ++i) {
        const auto& c = state_.conversations[i];
        if (c.oneTurn() && !c.failed) chats_.emplace(c.prompt.sha256, static_cast<int>(i));
    }
}

/// A conversation with the same prompt whose answer nobody has got and nobody waits for: clients of
/// these formats send a request once more after a broken connection, and so does a program that is
/// started again after a crash. Two who ask the same at once want two answers.
std::optional<int> Actor::unheard(const GuestAsk& ask) {
    auto [first, last] = chats_.equal_range(ask.prompt.ref.sha256);
    while (first != last) {
        int conversation = first->second;
        auto asker = askers_.find(conversation);
        bool asked = asker != askers_.end();
        bool failed = state_.conversations[static_cast<std::size_t>(conversation)].failed;
        if (failed || (asked && asker->second->delivered())) {
            if (asked) askers_.erase(asker);
            first = chats_.erase(first);
        } else if (asked && asker->second->attended()) {
            ++first;
        } else {
            return conversation;
        }
    }
    return std::nullopt;
}

std::string Actor::effectiveRequestId(const GuestAsk& ask) {
    const auto& all = state_.conversations;
    if (!ask.format.empty()) {
        auto found = unheard(ask);
        return found ? all[static_cast<std::size_t>(*found)].request_id : ask.request_id;
    }
    if (conversationOf(state_, ask.request_id) || attached_.size() >= all.size())
        return ask.request_id;
    // A guest that numbers its requests at random asks again after a crash: the same prompt, in a
    // sandbox that has not asked about it, is the same conversation.
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (!attached_.contains(static_cast<int>(i)) && all[i].prompt == ask.prompt.ref)
            return all[i].request_id;
    }
    return ask.request_id;
}

void Actor::refuse(const GuestCallPtr& call) const {
    if (halted_ && !state_.outcome)
        call->fail("daemon_stopping", "the daemon is stopping", true);
    else
        call->fail("iteration_ended", "the iteration has ended", false);
}

void Actor::handleGenerate(DeferredGenerate asked) {
    const auto& ask = asked.ask;
    bool over = halted_ || state_.outcome || ask.sandbox != currentSandbox(state_);
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
    if (!ask.model_alias.empty() && ask.model_alias != state_.model_alias) {
        auto only = "this execution uses the model alias " + state_.model_alias;
        if (ask.format.empty())
            asked.call->fail("model_not_allowed", std::move(only), false);
        else
            asked.call->fail("model_not_allowed",
                             {ErrorCode::kNotFound,
                              "the model " + json::quote(ask.model_alias) +
                                  " does not exist or is not this agent's to use",
                              std::move(only)});
        return;
    }
    auto id = effectiveRequestId(ask);
    handle(GuestGenerate{ask.sandbox, id, ask.prompt.ref, state_.model_alias, ask.format},
           {ask.prompt});
    auto at = conversationOf(state_, id);
    if (!at || halted_ || state_.outcome || state_.phase != Phase::kRunning) {
        const auto& why = state_.iteration_failure.message;
        asked.call->fail("iteration_ended", why.empty() ? "the iteration has ended" : why, false);
        return;
    }
    wait(static_cast<int>(*at), asked.call);
    settle();
}

void Actor::wait(int conversation, const GuestCallPtr& call) {
    bool is_new = attached_.insert(conversation).second;
    const auto& c = state_.conversations[static_cast<std::size_t>(conversation)];
    if (c.oneTurn()) {
        call->setId(c.request_id);
        // Began for somebody who has gone: the text so far went there.
        if (!is_new) call->mute();
        auto [first, last] = chats_.equal_range(c.prompt.sha256);
        bool known =
            std::any_of(first, last, [&](const auto& e) { return e.second == conversation; });
        if (!known) chats_.emplace(c.prompt.sha256, conversation);
        askers_[conversation] = call;
    }
    auto& place = waiting_[conversation];
    if (place && place != call) place->fail("superseded", "the request was made again", false);
    place = call;
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
        bool current =
            turn != nullptr && turn->current && turn->current->dispatch_id == result.dispatch_id;
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
    if (reply.kind == GuestReply::Kind::kFailed) {
        auto failure = failures_.extract(reply.conversation);
        ModelFailure what{{ErrorCode::kInternal, "the model call failed"}, {}};
        if (!failure.empty()) what = std::move(failure.mapped());
        call->fail("model_error", what.error, what.retry_after_ms);
        return;
    }
    bool one_turn = state_.conversations[static_cast<std::size_t>(reply.conversation)].oneTurn();
    if (reply.kind == GuestReply::Kind::kDispatch) {
        GuestMessage message;
        message.kind = GuestMessage::Kind::kDispatch;
        message.dispatch_id = reply.dispatch_id;
        message.command = dispatches_[reply.dispatch_id];
        if (!context_.manifest->volumes.empty()) deps_->volumes.expectWrites(context_.id);
        call->push(std::move(message));
        return;
    }
    auto finish = [self = shared_from_this(), reply, call, one_turn] {
        auto text = self->deps_->bodies.get(self->context_.id, reply.answer);
        auto answer = text ? json::parse(**text) : Result<json::Value>(text.error());
        if (!answer) {
            call->fail("internal", "the recorded answer cannot be read", false);
            return;
        }
        GuestMessage message;
        message.kind = GuestMessage::Kind::kFinal;
        message.content = one_turn ? **text : std::string(json::getString(*answer, "content"));
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
    for (auto& [conversation, call] : waiting)
        call->fail("iteration_ended", message, false);
    auto deferred = std::exchange(deferred_, {});
    for (auto& asked : deferred)
        asked.call->fail("iteration_ended", message, false);
}

void Actor::modelDelta(int call, std::string_view text) {
    {
        std::lock_guard lock(deltas_.mutex);
        deltas_.texts[call] += text;
        if (std::exchange(deltas_.posted, true)) return;
    }
    here([self = shared_from_this()] { self->drainDeltas(); });
}

void Actor::egress(int sandbox, execution::EgressDecided data) {
    // What does not fit the mailbox is lost, as class D may be: the guest decides how often this
    // happens.
    (void)deps_->core.post(mailbox_,
                           [self = shared_from_this(), sandbox, data = std::move(data)]() mutable {
                               self->handle(execution::EgressNoted{sandbox, std::move(data)}, {});
                           });
}

void Actor::drainDeltas() {
    std::map<int, std::string> texts;
    {
        std::lock_guard lock(deltas_.mutex);
        deltas_.posted = false;
        texts.swap(deltas_.texts);
    }
    for (const auto& [call, text] : texts)
        tell(call, text);
}

void Actor::tell(int call, const std::string& text) {
    auto at = conversationCalling(state_, call);
    if (text.empty() || halted_ || !at) return;
    auto waiting = waiting_.find(static_cast<int>(*at));
    if (waiting != waiting_.end()) {
        GuestMessage delta;
        delta.kind = GuestMessage::Kind::kDelta;
        delta.content = text;
        waiting->second->push(std::move(delta));
    }
    auto& output = output_[call];
    output += text;
    constexpr std::size_t kFlushBytes = 2048;
    if (output.size() < kFlushBytes) return;
    std::vector<InputData> inputs;
    takeOutput(call, inputs);
    handleAll(std::move(inputs), {});
}

void Actor::modelEnded(int call, InputData result, std::vector<ports::Body> bodies,
                       ModelFailure failure) {
    here([self = shared_from_this(), call, result = std::move(result), bodies = std::move(bodies),
          failure = std::move(failure)]() mutable {
        self->drainDeltas();
        std::vector<InputData> inputs;
        self->takeOutput(call, inputs);
        auto at = conversationCalling(self->state_, call);
        bool failed = std::holds_alternative<ModelFailed>(result);
        if (failed && at && self->state_.conversations[*at].oneTurn())
            self->failures_[static_cast<int>(*at)] = std::move(failure);
        inputs.push_back(std::move(result));
        self->handleAll(std::move(inputs), std::move(bodies));
    });
}

/// What was said since the last time, as inputs.
void Actor::takeOutput(int call, std::vector<InputData>& inputs) {
    constexpr std::size_t kPieceBytes = 3000;
    auto held = output_.extract(call);
    if (held.empty()) return;
    auto text = std::move(held.mapped());
    // What is beyond an iteration's cap of output events is dropped by the core.
    for (std::size_t pieces = 0; !text.empty() && pieces < 256; ++pieces) {
        auto piece = text::headUtf8(text, kPieceBytes);
        if (piece.empty()) break;
        std::string out(piece);
        text.erase(0, out.size());
        inputs.emplace_back(ModelDelta{call, std::move(out)});
    }
}

}  // namespace aegis::runner
