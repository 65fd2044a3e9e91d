#include <fmt/format.h>

#include <array>
#include <utility>

#include "execution/codec_archive.h"
#include "execution/codec_fit.h"
#include "execution/codec_text.h"
#include "execution/event.h"
#include "execution/event_text.h"

// The JSON of each event's data. One description of each type's fields serves both directions.
// Rules: numbers and booleans are always there; an empty text, list, map, reference, failure or nil
// id is left out and reads back as empty. A field once shipped keeps its name and meaning; a change
// makes a new version and an upcast in decodeData.

namespace aegis::execution {
namespace codec {

template <class A, class T>
using Ref = typename A::template Ref<T>;

template <class A>
void fields(A& a, Ref<A, Usage> d) {
    a.field("calls", d.calls);
    a.field("prompt_tokens", d.prompt_tokens);
    a.field("completion_tokens", d.completion_tokens);
    a.field("cost_usd", d.cost_usd);
}

template <class A>
void fields(A& a, Ref<A, ValidationResult> d) {
    a.field("validator", d.validator);
    a.field("passed", d.passed);
    a.field("score", d.score);
    a.field("confidence", d.confidence);
    a.field("detail", d.detail);
}

template <class A>
void fields(A& a, Ref<A, Budget> d) {
    a.field("usd", d.usd);
    a.field("tokens", d.tokens);
    a.field("llm_calls", d.llm_calls);
    a.field("tool_calls", d.tool_calls);
    a.field("input_usd_per_mtok", d.input_usd_per_mtok);
}

template <class A>
void fields(A& a, Ref<A, Reservation> d) {
    a.field("tokens", d.tokens);
    a.field("usd", d.usd);
}

template <class A>
void fields(A& a, Ref<A, Plan> d) {
    a.field("max_iterations", d.max_iterations);
    a.field("iteration_timeout_ms", d.iteration_timeout_ms);
    a.field("timeout_ms", d.timeout_ms);
    a.field("max_tool_calls", d.max_tool_calls);
    a.field("max_model_calls", d.max_model_calls);
    a.field("checks_exit_code", d.checks_exit_code);
    a.field("has_validators", d.has_validators);
    a.field("has_volumes", d.has_volumes);
    a.nested("budget", d.budget);
}

template <class A>
void fields(A& a, Ref<A, ExecutionCreated> d) {
    a.field("agent_id", d.agent_id);
    a.field("agent_name", d.agent_name);
    a.field("agent_revision", d.agent_revision);
    a.field("input", d.input);
    a.nested("plan", d.plan);
    a.field("model_alias", d.model_alias);
    a.field("labels", d.labels);
    a.field("root", d.root);
    a.field("parent", d.parent);
}

template <class A>
void fields(A& a, Ref<A, CancelRequested> d) {
    a.field("reason", d.reason);
}

template <class A>
void fields(A& a, Ref<A, OutcomeDecided> d) {
    a.field("outcome", d.outcome);
    a.field("error", d.failure);
    a.field("output", d.output);
}

template <class A>
void fields(A& a, Ref<A, EffectLost> d) {
    a.field("effect", d.effect);
    a.field("call", d.call);
}

template <class A>
void fields(A& a, Ref<A, ExecutionStarted> d) {
    a.field("deadline", d.deadline);
}

template <class A>
void fields(A& a, Ref<A, IterationStarted> d) {
    a.field("deadline", d.deadline);
    a.field("previous_error", d.previous_error);
}

template <class A>
void fields(A& a, Ref<A, SandboxStarted> d) {
    a.field("runtime", d.runtime);
    a.field("name", d.name);
    a.field("start_ms", d.start_ms);
}

template <class A>
void fields(A& a, Ref<A, LlmCallStarted> d) {
    a.field("call", d.call);
    a.field("conversation", d.conversation);
    a.field("turn", d.turn);
    a.field("request_id", d.request_id);
    a.field("model_alias", d.model_alias);
    a.field("prompt", d.prompt);
    a.field("format", d.format);
    a.nested("reserved", d.reserved);
}

template <class A>
void fields(A& a, Ref<A, LlmCallCompleted> d) {
    a.field("call", d.call);
    a.field("answer", d.answer);
    a.field("tool_calls", d.tool_calls);
    a.nested("usage", d.usage);
    a.field("provider", d.provider);
    a.field("model", d.model);
    a.field("finish_reason", d.finish_reason);
    a.field("duration_ms", d.duration_ms);
}

template <class A>
void fields(A& a, Ref<A, LlmCallFailed> d) {
    a.field("call", d.call);
    a.field("error", d.failure);
    a.field("duration_ms", d.duration_ms);
}

template <class A>
void fields(A& a, Ref<A, ToolCallStarted> d) {
    a.field("call", d.call);
    a.field("conversation", d.conversation);
    a.field("turn", d.turn);
    a.field("index", d.index);
    a.field("tool", d.tool);
    a.field("summary", d.summary, kMaxSummaryBytes);
    a.field("dispatch_id", d.dispatch_id);
    a.field("barrier", d.barrier);
}

template <class A>
void fields(A& a, Ref<A, ToolCallCompleted> d) {
    a.field("call", d.call);
    a.field("tool", d.tool);
    a.field("summary", d.summary, kMaxSummaryBytes);
    a.field("ok", d.ok);
    a.field("exit_code", d.exit_code);
    a.field("reason", d.reason);
    a.field("result", d.result);
    a.field("duration_ms", d.duration_ms);
}

template <class A>
void fields(A& a, Ref<A, ToolCallDenied> d) {
    a.field("call", d.call);
    a.field("conversation", d.conversation);
    a.field("turn", d.turn);
    a.field("index", d.index);
    a.field("tool", d.tool);
    a.field("summary", d.summary, kMaxSummaryBytes);
    a.field("reason", d.reason);
    a.field("result", d.result);
}

template <class A>
void fields(A& a, Ref<A, EgressDecided> d) {
    a.field("host", d.host);
    a.field("port", d.port);
    a.field("reason", d.reason);
    a.field("bytes", d.bytes);
}

template <class A>
void fields(A& a, Ref<A, OutputAppended> d) {
    a.field("stream", d.stream);
    a.field("text", d.text);
}

template <class A>
void fields(A& a, Ref<A, IterationCompleted> d) {
    a.field("exit_code", d.exit_code);
    a.field("error", d.failure);
    a.field("output", d.output);
    a.field("stdout", d.standard_output);
    a.field("stderr", d.standard_error);
    a.field("error_text", d.error);
}

template <class A>
void fields(A& a, Ref<A, ValidationCompleted> d) {
    a.list("results", d.results);
    a.field("score", d.score);
    a.field("passed", d.passed);
    a.field("error_text", d.error);
}

template <class A>
void fields(A& a, Ref<A, IterationRefining> d) {
    a.field("error_text", d.error);
}

template <class A>
void fields(A& a, Ref<A, BudgetExceeded> d) {
    a.field("what", d.what);
    a.field("message", d.message, kMaxMessageBytes);
}

template <class A>
void fields(A& a, Ref<A, VolumeAttached> d) {
    a.field("volume_id", d.volume_id);
    a.field("name", d.name);
    a.field("mount_point", d.mount_point);
}

template <class A>
void fields(A& a, Ref<A, VolumeDetached> d) {
    a.field("volume_id", d.volume_id);
}

template <class A>
void fields(A& a, Ref<A, VolumeQuotaExceeded> d) {
    a.field("volume_id", d.volume_id);
    a.field("name", d.name);
}

template <class A>
void fields(A&, Ref<A, ExecutionResumed>) {}

template <class A>
void fields(A& a, Ref<A, ExecutionCompleted> d) {
    a.field("iterations", d.iterations);
    a.field("duration_ms", d.duration_ms);
}

template <class A>
void fields(A& a, Ref<A, ExecutionFailed> d) {
    a.field("iterations", d.iterations);
    a.field("duration_ms", d.duration_ms);
    a.field("error", d.failure);
}

template <class A>
void fields(A& a, Ref<A, ExecutionCancelled> d) {
    a.field("iterations", d.iterations);
    a.field("duration_ms", d.duration_ms);
}

}  // namespace codec

namespace {

constexpr int kVersion = 1;

// In the order of EventData's alternatives; EgressDecided has two names and is handled apart.
constexpr std::array<std::string_view, std::variant_size_v<EventData>> kTypeNames = {
    "ExecutionCreated",    "CancelRequested",     "OutcomeDecided",   "EffectLost",
    "ExecutionStarted",    "IterationStarted",    "SandboxStarted",   "LlmCallStarted",
    "LlmCallCompleted",    "LlmCallFailed",       "ToolCallStarted",  "ToolCallCompleted",
    "ToolCallDenied",      "EgressDecided",       "OutputAppended",   "IterationCompleted",
    "ValidationCompleted", "IterationRefining",   "BudgetExceeded",   "VolumeAttached",
    "VolumeDetached",      "VolumeQuotaExceeded", "ExecutionResumed", "ExecutionCompleted",
    "ExecutionFailed",     "ExecutionCancelled"};

template <std::size_t I = 0>
bool emplaceByName(std::string_view type, EventData& data) {
    if constexpr (I < kTypeNames.size()) {
        if (kTypeNames[I] != type) return emplaceByName<I + 1>(type, data);
        data.emplace<I>();
        return true;
    } else {
        return false;
    }
}

// Egress decisions are one struct and two names.
bool emplaceType(std::string_view type, EventData& data) {
    if (type == "EgressAllowed" || type == "EgressDenied") {
        data.emplace<EgressDecided>().allowed = type == "EgressAllowed";
        return true;
    }
    return type != "EgressDecided" && emplaceByName(type, data);
}

}  // namespace

void Usage::add(const Usage& other) {
    calls += other.calls;
    prompt_tokens += other.prompt_tokens;
    completion_tokens += other.completion_tokens;
    cost_usd += other.cost_usd;
}

Durability durabilityOf(const Event& event) {
    struct Visitor {
        using D = Durability;
        D operator()(const ExecutionCreated&) const { return D::kBeforeEffect; }
        D operator()(const CancelRequested&) const { return D::kBeforeEffect; }
        // Money: a call that was in flight when the daemon died must be known to have been.
        D operator()(const LlmCallStarted&) const { return D::kBeforeEffect; }
        D operator()(const ToolCallStarted& d) const {
            return d.barrier ? D::kBeforeEffect : D::kSoon;
        }
        D operator()(const OutcomeDecided&) const { return D::kBeforeRelease; }
        D operator()(const LlmCallCompleted&) const { return D::kBeforeRelease; }
        D operator()(const LlmCallFailed&) const { return D::kBeforeRelease; }
        D operator()(const ToolCallCompleted&) const { return D::kBeforeRelease; }
        D operator()(const ToolCallDenied&) const { return D::kBeforeRelease; }
        D operator()(const ExecutionCompleted&) const { return D::kBeforeRelease; }
        D operator()(const ExecutionFailed&) const { return D::kBeforeRelease; }
        D operator()(const ExecutionCancelled&) const { return D::kBeforeRelease; }
        // Lost with the sandbox that they tell of: the iteration is begun again then. What follows
        // from them (the outcome, the next call of the model) takes them along.
        D operator()(const IterationCompleted&) const { return D::kSoon; }
        D operator()(const ValidationCompleted&) const { return D::kSoon; }
        D operator()(const EgressDecided&) const { return D::kCoalesced; }
        D operator()(const OutputAppended&) const { return D::kCoalesced; }
        D operator()(const EffectLost&) const { return D::kSoon; }
        D operator()(const ExecutionStarted&) const { return D::kSoon; }
        D operator()(const IterationStarted&) const { return D::kSoon; }
        D operator()(const SandboxStarted&) const { return D::kSoon; }
        D operator()(const IterationRefining&) const { return D::kSoon; }
        D operator()(const BudgetExceeded&) const { return D::kSoon; }
        D operator()(const VolumeAttached&) const { return D::kSoon; }
        D operator()(const VolumeDetached&) const { return D::kSoon; }
        D operator()(const VolumeQuotaExceeded&) const { return D::kSoon; }
        D operator()(const ExecutionResumed&) const { return D::kSoon; }
    };
    return std::visit(Visitor{}, event.data);
}

std::string_view typeName(const Event& event) {
    if (const auto* egress = std::get_if<EgressDecided>(&event.data))
        return egress->allowed ? "EgressAllowed" : "EgressDenied";
    return kTypeNames[event.data.index()];
}

std::vector<std::string> eventTypes() {
    std::vector<std::string> out;
    for (auto type : kTypeNames) {
        if (type == "EgressDecided")
            out.insert(out.end(), {"EgressAllowed", "EgressDenied"});
        else
            out.emplace_back(type);
    }
    return out;
}

int encodingVersion(const Event&) { return kVersion; }

json::Object encodeData(const Event& event) {
    codec::Writer writer;
    std::visit([&](const auto& data) { codec::fields(writer, data); }, event.data);
    return codec::fit(std::move(writer.out));
}

std::string encodeText(const Event& event) {
    std::string out;
    codec::TextWriter writer(out);
    std::visit([&](const auto& data) { codec::fields(writer, data); }, event.data);
    writer.end();
    // One that has to be cut is cut as a value.
    return out.size() <= kMaxEventBytes ? out : json::dump(encodeData(event));
}

Result<EventData> decodeData(std::string_view type, int version, const json::Value& value) {
    EventData data;
    if (!emplaceType(type, data))
        return {ErrorCode::kUnsupported, fmt::format("unknown event type {}", json::quote(type))};
    if (version != kVersion) {
        return {ErrorCode::kUnsupported,
                fmt::format("event type {} has version {}, this build knows up to {}", type,
                            version, kVersion)};
    }
    codec::Reader reader(value);
    std::visit([&](auto& d) { codec::fields(reader, d); }, data);
    if (!reader.problem().empty())
        return {ErrorCode::kInvalid, fmt::format("{}: {}", type, reader.problem())};
    return data;
}

json::Object envelopeJson(const Event& head, std::string_view type, json::Object data,
                          const ExecutionId& execution, const AgentId& agent) {
    json::Object out;
    out["seq"] = head.seq;
    out["time"] = codec::textValue(head.time.rfc3339());
    out["execution_id"] = codec::textValue(execution.str());
    out["agent_id"] = codec::textValue(agent.str());
    out["type"] = codec::textValue(type);
    if (head.iteration != 0) out["iteration"] = head.iteration;
    if (head.candidate != 0) out["candidate"] = head.candidate;
    if (head.sandbox != 0) out["sandbox"] = head.sandbox;
    out["data"] = std::move(data);
    return out;
}

json::Object toJson(const Event& event, const ExecutionId& execution, const AgentId& agent) {
    return envelopeJson(event, typeName(event), encodeData(event), execution, agent);
}

std::string toText(const Event& event, const ExecutionId& execution, const AgentId& agent) {
    std::string out;
    codec::TextWriter writer(out);
    writer.field("seq", event.seq);
    writer.field("time", event.time);
    writer.raw("execution_id", json::quote(execution.str()));
    writer.raw("agent_id", json::quote(agent.str()));
    writer.raw("type", json::quote(typeName(event)));
    if (event.iteration != 0) writer.field("iteration", event.iteration);
    if (event.candidate != 0) writer.field("candidate", event.candidate);
    if (event.sandbox != 0) writer.field("sandbox", event.sandbox);
    writer.raw("data", encodeText(event));
    writer.end();
    return out;
}

}  // namespace aegis::execution
