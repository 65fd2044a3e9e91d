#include "execution/state.h"

#include <algorithm>
#include <utility>

namespace aegis::execution {
namespace {

/// One overload for each event; the envelope's ordinals are in `e`.
class Fold {
  public:
    Fold(State& state, const Event& event) : s_(state), e_(event) {}

    void operator()(const ExecutionCreated& d) {
        s_.status = Status::kPending;
        s_.plan = d.plan;
        s_.input = d.input;
        s_.model_alias = d.model_alias;
        s_.created_at = e_.time;
    }
    void operator()(const CancelRequested&) {}
    void operator()(const OutcomeDecided& d) {
        if (!s_.outcome) s_.outcome = d;
    }
    void operator()(const EffectLost& d);
    void operator()(const ExecutionStarted& d) {
        s_.status = Status::kRunning;
        s_.started_at = e_.time;
        s_.deadline = d.deadline;
    }
    void operator()(const IterationStarted& d) {
        s_.iteration = e_.iteration;
        s_.phase = Phase::kNeedSandbox;
        s_.iteration_deadline = d.deadline;
        s_.previous_error = d.previous_error;
        s_.previous_failure = std::exchange(s_.iteration_failure, {});
        s_.next_error = {};
        s_.sandbox_open = false;
        s_.full_volumes.clear();
        s_.conversations.clear();
        s_.open.clear();
        s_.by_request.clear();
        s_.model_calls = 0;
        s_.tool_calls = 0;
        s_.output_events = 0;
    }
    void operator()(const SandboxStarted&) {
        s_.sandbox = std::max(s_.sandbox, e_.sandbox);
        s_.sandbox_open = true;
        s_.phase = Phase::kRunning;
    }
    void operator()(const LlmCallStarted& d);
    void operator()(const LlmCallCompleted& d);
    void operator()(const LlmCallFailed& d) {
        settle(d.call, nullptr);
        auto* c = calling(d.call);
        if (c == nullptr) return;
        c->calling = 0;
        c->failed = c->oneTurn();
        closeIfFinished(*c);
    }
    void operator()(const ToolCallStarted& d);
    void operator()(const ToolCallCompleted& d);
    void operator()(const ToolCallDenied& d);
    void operator()(const EgressDecided&) {}
    void operator()(const OutputAppended&) { ++s_.output_events; }
    void operator()(const IterationCompleted& d);
    void operator()(const ValidationCompleted& d) { s_.next_error = d.error; }
    void operator()(const IterationRefining& d) {
        s_.phase = Phase::kClosing;
        s_.next_error = d.error;
    }
    void operator()(const BudgetExceeded&) {}
    void operator()(const VolumeAttached& d) {
        s_.volumes_attached = true;
        s_.volumes.push_back(d.volume_id);
    }
    void operator()(const VolumeDetached& d) { std::erase(s_.volumes, d.volume_id); }
    void operator()(const VolumeQuotaExceeded& d) { s_.full_volumes.push_back(d.volume_id); }
    void operator()(const ExecutionResumed&) {}
    void operator()(const ExecutionCompleted&) { end(Status::kCompleted); }
    void operator()(const ExecutionFailed&) { end(Status::kFailed); }
    void operator()(const ExecutionCancelled&) { end(Status::kCancelled); }

  private:
    /// What a call used is known now; without `usage`, or where it says nothing, it is what was
    /// reserved.
    void settle(int call, const Usage* usage) {
        auto& open = s_.spending.open;
        auto at = std::ranges::find_if(open, [&](const OpenReservation& r) {
            return r.iteration == s_.iteration && r.call == call;
        });
        if (at == open.end()) return;
        auto used = at->amount;
        if (usage != nullptr && usage->prompt_tokens + usage->completion_tokens > 0)
            used = {static_cast<std::int64_t>(usage->prompt_tokens + usage->completion_tokens),
                    usage->cost_usd};
        auto& spending = s_.spending;
        spending.settled.tokens += used.tokens;
        spending.settled.usd += used.usd;
        spending.largest.tokens = std::max(spending.largest.tokens, used.tokens);
        spending.largest.usd = std::max(spending.largest.usd, used.usd);
        open.erase(at);
    }
    /// Calls that nobody waits for any more: they may have been answered and paid for.
    void settleAll() {
        while (!s_.spending.open.empty())
            settle(s_.spending.open.front().call, nullptr);
    }
    void end(Status status) {
        settleAll();
        s_.status = status;
        s_.ended_at = e_.time;
        s_.sandbox_open = false;
        s_.phase = Phase::kNone;
    }
    Conversation* calling(int call) {
        auto at = conversationCalling(s_, call);
        return at ? &s_.conversations[*at] : nullptr;
    }
    void closeIfFinished(const Conversation& c) {
        auto at = static_cast<std::size_t>(&c - s_.conversations.data());
        if (c.finished()) std::erase(s_.open, at);
    }
    Turn* turn(int conversation, int index) {
        if (conversation < 0 || static_cast<std::size_t>(conversation) >= s_.conversations.size())
            return nullptr;
        auto& turns = s_.conversations[static_cast<std::size_t>(conversation)].turns;
        if (index < 0 || static_cast<std::size_t>(index) >= turns.size()) return nullptr;
        return &turns[static_cast<std::size_t>(index)];
    }

    State& s_;
    const Event& e_;
};

void Fold::operator()(const EffectLost& d) {
    if (d.effect == "sandbox") {
        s_.sandbox = std::max(s_.sandbox, e_.sandbox);
        s_.sandbox_open = false;
        if (s_.phase == Phase::kRunning || s_.phase == Phase::kValidating)
            s_.phase = Phase::kNeedSandbox;
    } else if (d.effect == "llm_call") {
        settle(d.call, nullptr);
        if (auto* c = calling(d.call)) {
            c->calling = 0;
            c->want_call = true;
        }
    } else if (d.effect == "tool_call") {
        for (auto at : s_.open) {
            for (auto& t : s_.conversations[at].turns) {
                if (t.current && t.current->call == d.call) t.current.reset();
            }
        }
    }
}

void Fold::operator()(const LlmCallStarted& d) {
    s_.model_calls = std::max(s_.model_calls, d.call);
    ++s_.spending.llm_calls;
    if (d.reserved) s_.spending.open.push_back({s_.iteration, d.call, *d.reserved});
    auto at = static_cast<std::size_t>(d.conversation);
    if (d.conversation < 0 || at > s_.conversations.size()) return;
    if (at == s_.conversations.size()) {
        s_.conversations.push_back({});
        s_.conversations.back().request_id = d.request_id;
        s_.conversations.back().model_alias = d.model_alias;
        s_.conversations.back().format = d.format;
        s_.conversations.back().prompt = d.prompt;
        s_.open.push_back(at);
        s_.by_request.emplace(d.request_id, at);
    }
    s_.conversations[at].calling = d.call;
    s_.conversations[at].want_call = false;
}

void Fold::operator()(const LlmCallCompleted& d) {
    s_.usage.add(d.usage);
    settle(d.call, &d.usage);
    if (auto* c = calling(d.call)) {
        c->calling = 0;
        c->turns.push_back({d.answer, d.tool_calls, {}, {}});
        closeIfFinished(*c);
    }
}

void Fold::operator()(const ToolCallStarted& d) {
    s_.tool_calls = std::max(s_.tool_calls, d.call);
    ++s_.spending.tool_calls;
    if (Turn* t = turn(d.conversation, d.turn))
        t->current = ToolRun{d.call, d.index, d.tool, d.summary, d.dispatch_id};
}

void Fold::operator()(const ToolCallCompleted& d) {
    for (auto at : s_.open) {
        auto& c = s_.conversations[at];
        for (auto& t : c.turns) {
            if (!t.current || t.current->call != d.call) continue;
            if (!t.current->dispatch_id.empty()) c.dispatched.push_back(t.current->dispatch_id);
            t.current.reset();
            t.results.push_back(d.result);
            ++c.tools_executed;
        }
    }
}

void Fold::operator()(const ToolCallDenied& d) {
    s_.tool_calls = std::max(s_.tool_calls, d.call);
    if (Turn* t = turn(d.conversation, d.turn)) t->results.push_back(d.result);
}

void Fold::operator()(const IterationCompleted& d) {
    settleAll();
    s_.sandbox = std::max(s_.sandbox, e_.sandbox);
    s_.exit_code = d.exit_code;
    s_.standard_output = d.standard_output;
    s_.standard_error = d.standard_error;
    s_.next_error = d.error;
    s_.iteration_failure = d.failure;
    if (d.failure.code.empty()) {
        s_.output = d.output;
        s_.phase = Phase::kValidating;
    } else {
        s_.phase = Phase::kClosing;
    }
}

EffectKey key(EffectKey::Kind kind, const State& s) {
    EffectKey k;
    k.kind = kind;
    k.iteration = s.iteration;
    k.sandbox = currentSandbox(s);
    return k;
}

void dueConversations(const State& s, std::vector<EffectKey>& out) {
    for (auto i : s.open) {
        const auto& c = s.conversations[i];
        auto k = key(EffectKey::Kind::kCallModel, s);
        k.conversation = static_cast<int>(i);
        if (c.calling > 0) {
            k.call = c.calling;
            k.turn = static_cast<int>(c.turns.size());
            out.push_back(k);
            continue;
        }
        if (c.turns.empty()) continue;
        const auto& t = c.turns.back();
        k.turn = static_cast<int>(c.turns.size()) - 1;
        k.index = static_cast<int>(t.results.size());
        if (t.current && t.current->dispatch_id.empty()) {
            k.kind = EffectKey::Kind::kRunTool;
            k.call = t.current->call;
            out.push_back(k);
        } else if (!t.current && k.index < t.tool_calls) {
            k.kind = EffectKey::Kind::kAdmitTool;
            k.call = s.tool_calls + 1;
            out.push_back(k);
        }
    }
}

void dueTimers(const State& s, std::vector<EffectKey>& out) {
    EffectKey timer;
    timer.kind = EffectKey::Kind::kTimer;
    timer.at = s.deadline;
    out.push_back(timer);
    if (s.phase == Phase::kNeedSandbox || s.phase == Phase::kRunning) {
        timer.iteration = s.iteration;
        timer.at = s.iteration_deadline;
        out.push_back(timer);
    }
}

}  // namespace

std::string_view statusName(Status status) {
    switch (status) {
        case Status::kNone:
            return "none";
        case Status::kPending:
            return "pending";
        case Status::kRunning:
            return "running";
        case Status::kCompleted:
            return "completed";
        case Status::kFailed:
            return "failed";
        case Status::kCancelled:
            return "cancelled";
    }
    return "none";
}

std::optional<std::size_t> conversationOf(const State& state, const std::string& request_id) {
    auto it = state.by_request.find(request_id);
    if (it == state.by_request.end()) return std::nullopt;
    return it->second;
}

std::optional<std::size_t> conversationCalling(const State& state, int call) {
    auto it = std::ranges::find_if(
        state.open, [&](std::size_t at) { return state.conversations[at].calling == call; });
    if (call <= 0 || it == state.open.end()) return std::nullopt;
    return *it;
}

BodyRef finalAnswer(const State& state) {
    for (auto c = state.conversations.rbegin(); c != state.conversations.rend(); ++c)
        if (c->finished() && !c->oneTurn()) return c->turns.back().answer;
    return {};
}

int currentSandbox(const State& state) {
    return state.phase == Phase::kNeedSandbox ? state.sandbox + 1 : state.sandbox;
}

void apply(State& state, const Event& event) {
    state.last_seq = event.seq;
    std::visit(Fold(state, event), event.data);
}

std::vector<EffectKey> due(const State& s) {
    using Kind = EffectKey::Kind;
    std::vector<EffectKey> out;
    if (s.status == Status::kPending) {
        EffectKey admit;
        out.push_back(admit);
        return out;
    }
    if (s.status != Status::kRunning) return out;
    if (s.plan.has_volumes && !s.volumes_attached) {
        // Also when the outcome is decided already: what was begun is let end, then undone.
        out.push_back(key(Kind::kAttachVolumes, s));
    } else if (s.outcome) {
        auto k = key(Kind::kCloseSandbox, s);
        k.last = true;
        out.push_back(k);
    } else if (s.phase == Phase::kNeedSandbox) {
        out.push_back(key(Kind::kStartSandbox, s));
    } else if (s.phase == Phase::kRunning) {
        // Still due while the bootstrap runs: its end is this effect's second result.
        out.push_back(key(Kind::kStartSandbox, s));
        dueConversations(s, out);
    } else if (s.phase == Phase::kValidating) {
        out.push_back(key(Kind::kValidate, s));
    } else if (s.phase == Phase::kClosing) {
        out.push_back(key(Kind::kCloseSandbox, s));
    }
    if (!s.outcome) dueTimers(s, out);
    return out;
}

std::optional<GuestReply> guestReply(const State& state, int conversation) {
    if (conversation < 0 || static_cast<std::size_t>(conversation) >= state.conversations.size())
        return std::nullopt;
    const auto& c = state.conversations[static_cast<std::size_t>(conversation)];
    GuestReply reply;
    reply.conversation = conversation;
    reply.kind = GuestReply::Kind::kFailed;
    if (c.failed) return reply;
    reply.kind = GuestReply::Kind::kFinal;
    if (c.turns.empty()) return std::nullopt;
    const auto& last = c.turns.back();
    reply.turn = static_cast<int>(c.turns.size()) - 1;
    reply.answer = last.answer;
    reply.tool_calls_executed = c.tools_executed;
    if (c.finished()) return reply;
    if (!last.current || last.current->dispatch_id.empty()) return std::nullopt;
    reply.kind = GuestReply::Kind::kDispatch;
    reply.index = last.current->index;
    reply.dispatch_id = last.current->dispatch_id;
    return reply;
}

}  // namespace aegis::execution
