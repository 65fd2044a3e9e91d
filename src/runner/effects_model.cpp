// The model: what it is asked and what becomes of its answer.

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "runner/effects.h"

namespace aegis::runner {

using namespace execution;

namespace {

/// With one turn the body holds all that the guest is told.
json::Value encodeAnswer(const ports::ModelAnswer& answer, bool one_turn) {
    json::Array calls;
    for (const auto& call : answer.tool_calls)
        calls.push_back(json::Object{
            {"id", call.id}, {"name", call.name}, {"arguments", call.arguments}});
    json::Object out{{"content", answer.content}, {"tool_calls", std::move(calls)}};
    if (!one_turn) return out;
    out["finish_reason"] = answer.finish_reason;
    if (!answer.stop_sequence.empty()) out["stop_sequence"] = answer.stop_sequence;
    out["usage"] = json::Object{{"prompt_tokens", answer.usage.prompt_tokens},
                                {"completion_tokens", answer.usage.completion_tokens}};
    return out;
}

const json::Array& listOf(const json::Value& value, std::string_view key) {
    static const json::Array kNone;
    const auto* list = json::find(value, key);
    return list != nullptr && list->is_array() ? list->get_array() : kNone;
}

std::vector<ports::ToolCall> decodeToolCalls(const json::Value& answer) {
    std::vector<ports::ToolCall> out;
    for (const auto& call : listOf(answer, "tool_calls")) {
        out.push_back({std::string(json::getString(call, "id")),
                       std::string(json::getString(call, "name")),
                       std::string(json::getString(call, "arguments"))});
    }
    return out;
}

Result<json::Value> loadJson(Deps& deps, const ExecutionId& id, const BodyRef& ref) {
    AEGIS_TRY(auto text, deps.bodies.get(id, ref));
    return json::parse(*text);
}

ports::Message::Role roleOf(std::string_view role) {
    using Role = ports::Message::Role;
    if (role == "system") return Role::kSystem;
    if (role == "assistant") return Role::kAssistant;
    return role == "tool" ? Role::kTool : Role::kUser;
}

ports::Message messageOf(const json::Value& given) {
    ports::Message m;
    m.role = roleOf(json::getString(given, "role"));
    m.content = std::make_shared<const std::string>(json::getString(given, "content"));
    return m;
}

/// What the guest sent with turn 0: its messages, if it brought any, then its prompt as the user's.
Result<std::vector<ports::Message>> opening(Deps& deps, const ExecutionId& id,
                                            const BodyRef& prompt) {
    AEGIS_TRY(auto body, loadJson(deps, id, prompt));
    std::vector<ports::Message> out;
    for (const auto& message : listOf(body, "messages")) {
        auto m = messageOf(message);
        if (m.role == ports::Message::Role::kTool) m.role = ports::Message::Role::kUser;
        out.push_back(std::move(m));
    }
    ports::Message user;
    user.content = std::make_shared<const std::string>(json::getString(body, "prompt"));
    out.push_back(std::move(user));
    return out;
}

ports::ToolChoice choiceOf(const json::Value& choice) {
    using Kind = ports::ToolChoice::Kind;
    if (choice.is_object()) return {Kind::kOne, std::string(json::getString(choice, "name"))};
    auto word = choice.is_string() ? json::view(choice.get_string()) : std::string_view();
    return {word == "none" ? Kind::kNone : word == "required" ? Kind::kAny : Kind::kAuto, {}};
}

/// A request in the one form of proto/chat.h. The manifest's limit on tokens holds; its temperature
/// is for requests that name none.
Result<ports::ModelRequest> oneTurnRequest(Deps& deps, const ExecutionContext& context,
                                           const Conversation& conversation) {
    AEGIS_TRY(auto body, loadJson(deps, context.id, conversation.prompt));
    const auto& runtime = context.manifest->runtime;
    ports::ModelRequest out;
    out.alias = conversation.model_alias;
    out.temperature = runtime.temperature;
    out.max_tokens = runtime.max_tokens;
    auto number = [&](const char* key) {
        const auto* value = json::find(body, key);
        return value != nullptr && value->is_number() ? std::optional(value->to_number<double>())
                                                      : std::nullopt;
    };
    if (auto temperature = number("temperature")) out.temperature = temperature;
    out.top_p = number("top_p");
    if (auto most = static_cast<int>(json::getInt(body, "max_tokens")); most > 0)
        out.max_tokens = std::min(most, out.max_tokens.value_or(most));
    out.parallel_tool_calls = json::getBool(body, "parallel_tool_calls", true);
    if (const auto* choice = json::find(body, "tool_choice")) out.tool_choice = choiceOf(*choice);
    for (const auto& stop : listOf(body, "stop"))
        out.stop.emplace_back(json::view(stop.as_string()));
    std::vector<ports::ToolSpec> tools;
    for (const auto& tool : listOf(body, "tools")) {
        const auto* parameters = json::find(tool, "parameters");
        tools.push_back({std::string(json::getString(tool, "name")),
                         std::string(json::getString(tool, "description")),
                         parameters == nullptr ? json::Value() : *parameters,
                         json::getBool(tool, "strict")});
    }
    out.tools = std::move(tools);
    for (const auto& given : listOf(body, "messages")) {
        auto m = messageOf(given);
        m.tool_calls = decodeToolCalls(given);
        m.tool_call_id = json::getString(given, "tool_call_id");
        m.is_error = json::getBool(given, "is_error");
        out.messages.push_back(std::move(m));
    }
    return out;
}

Result<ports::ModelRequest> buildRequest(Actor& actor, const Conversation& conversation) {
    auto& deps = actor.deps();
    const auto& context = actor.context();
    if (conversation.oneTurn()) return oneTurnRequest(deps, context, conversation);
    ports::ModelRequest request;
    request.alias = conversation.model_alias;
    request.temperature = context.manifest->runtime.temperature;
    request.max_tokens = context.manifest->runtime.max_tokens;
    request.tools = actor.tools();
    AEGIS_TRY(request.messages, opening(deps, context.id, conversation.prompt));
    for (const auto& turn : conversation.turns) {
        AEGIS_TRY(auto answer, loadJson(deps, context.id, turn.answer));
        ports::Message assistant;
        assistant.role = ports::Message::Role::kAssistant;
        assistant.content =
            std::make_shared<const std::string>(json::getString(answer, "content"));
        assistant.tool_calls = decodeToolCalls(answer);
        auto calls = assistant.tool_calls;
        request.messages.push_back(std::move(assistant));
        for (std::size_t i = 0; i < calls.size() && i < turn.results.size(); ++i) {
            ports::Message result;
            result.role = ports::Message::Role::kTool;
            result.tool_call_id = calls[i].id;
            AEGIS_TRY(result.content, deps.bodies.get(context.id, turn.results[i]));
            request.messages.push_back(std::move(result));
        }
    }
    return request;
}

/// A model call under way: cancelled before or after the port has given it a number.
struct CallHandle {
    std::mutex mutex;
    bool cancelled = false;
    std::optional<ports::Models::CallId> id;
};

void fail(const std::shared_ptr<Actor>& actor, int call, const Error& error, std::int64_t ms,
          std::optional<std::int64_t> retry_after_ms = {}) {
    auto message = error.hint.empty() ? error.message
                                      : fmt::format("{} (hint: {})", error.message, error.hint);
    LlmCallFailed data{call, {std::string(failure_code::kModelError), std::move(message)}, ms};
    actor->modelEnded(call, ModelFailed{std::move(data)}, {}, {error, retry_after_ms});
}

void finish(const std::shared_ptr<Actor>& actor, int call, bool one_turn,
            ports::ModelAnswer answer, std::int64_t ms) {
    LlmCallCompleted data;
    data.call = call;
    data.tool_calls = static_cast<int>(answer.tool_calls.size());
    data.usage = answer.usage;
    data.usage.calls = 1;
    data.provider = answer.provider;
    data.model = answer.model;
    data.finish_reason = answer.finish_reason;
    data.duration_ms = ms;
    auto body = ports::makeBody(json::dump(encodeAnswer(answer, one_turn)));
    data.answer = body.ref;
    actor->modelEnded(call, ModelAnswered{std::move(data)}, {std::move(body)});
}

/// Whether all of a conversation is short and in memory.
bool isAtHand(Deps& deps, const Conversation& conversation) {
    std::uint64_t bytes = 0;
    auto here = [&](const BodyRef& ref) {
        bytes += ref.size;
        return bytes <= kSmallBytes && deps.bodies.cached(ref);
    };
    return here(conversation.prompt) && std::ranges::all_of(conversation.turns, [&](const Turn& t) {
               return here(t.answer) && std::ranges::all_of(t.results, here);
           });
}

bool isSmall(const Result<ports::ModelAnswer>& answer) {
    if (!answer) return true;
    auto bytes = answer->content.size();
    for (const auto& call : answer->tool_calls)
        bytes += call.arguments.size();
    return bytes <= kSmallBytes;
}

void ask(const std::shared_ptr<Actor>& actor, const EffectKey& key,
         const Conversation& conversation, UtcTime until,
         const std::shared_ptr<CallHandle>& handle) {
    auto& deps = actor->deps();
    auto began = deps.clock.boot();
    auto request = buildRequest(*actor, conversation);
    if (!request) {
        fail(actor, key.call, request.error(), 0);
        return;
    }
    ports::ModelSink sink;
    sink.delta = [actor, call = key.call](std::string_view text) { actor->modelDelta(call, text); };
    // Shared by the two: what the one heard the other tells.
    auto again = std::make_shared<std::optional<std::int64_t>>();
    sink.again_in = [again](std::int64_t in_ms) { *again = in_ms; };
    sink.done = [actor, call = key.call, one_turn = conversation.oneTurn(), began,
                 again](Result<ports::ModelAnswer> answer) {
        auto ms = (actor->deps().clock.boot().ns - began.ns) / 1'000'000;
        bool small = isSmall(answer);
        auto end = [actor, call, one_turn, ms, again, answer = std::move(answer)]() mutable {
            if (answer)
                finish(actor, call, one_turn, std::move(*answer), ms);
            else
                fail(actor, call, answer.error(), ms, *again);
        };
        // Off the adapter's thread: an answer may be megabytes, and its digest takes time.
        if (small)
            end();
        else
            actor->deps().work(std::move(end));
    };
    {
        std::lock_guard lock(handle->mutex);
        if (handle->cancelled) return;
    }
    // Without the lock: its end may come before its number, and takes the actor's turn.
    auto id =
        deps.models.start(std::move(*request), deadlineAt(deps.clock, until), std::move(sink));
    bool late = false;
    {
        std::lock_guard lock(handle->mutex);
        handle->id = id;
        late = handle->cancelled;
    }
    if (late) deps.models.cancel(id);
}

}  // namespace

Result<ports::ToolCall> loadToolCall(Deps& deps, const ExecutionId& id, const BodyRef& answer,
                                     int index) {
    AEGIS_TRY(auto body, loadJson(deps, id, answer));
    auto calls = decodeToolCalls(body);
    if (index < 0 || static_cast<std::size_t>(index) >= calls.size())
        return {ErrorCode::kInternal, "the recorded answer has no such tool call"};
    return calls[static_cast<std::size_t>(index)];
}

std::function<void()> callModel(const std::shared_ptr<Actor>& actor, const EffectKey& key) {
    auto handle = std::make_shared<CallHandle>();
    auto conversation =
        actor->state().conversations[static_cast<std::size_t>(key.conversation)];
    auto until = actor->state().iteration_deadline;
    if (isAtHand(actor->deps(), conversation)) {
        ask(actor, key, conversation, until, handle);
    } else {
        actor->deps().work([actor, key, handle, until, conversation = std::move(conversation)] {
            ask(actor, key, conversation, until, handle);
        });
    }
    auto& models = actor->deps().models;
    return [handle, &models] {
        std::lock_guard lock(handle->mutex);
        handle->cancelled = true;
        if (handle->id) models.cancel(*handle->id);
    };
}

}  // namespace aegis::runner
