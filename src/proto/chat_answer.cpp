// What the two APIs answer: documents, streams, errors.

#include <array>

#include "proto/chat.h"
#include "wire/sse.h"

namespace aegis::proto::chat {
namespace {

json::Value text(std::string_view bytes) {
    auto clean = json::toUtf8(bytes);
    return boost::json::string(clean.data(), clean.size());
}

const json::Array& callsOf(const json::Value& answer) {
    static const json::Array kNone;
    const auto* calls = json::find(answer, "tool_calls");
    return calls != nullptr && calls->is_array() ? calls->get_array() : kNone;
}

/// Each provider has names of its own for why an answer ended.
enum class Reason : std::uint8_t { kStop, kLength, kTools, kRefusal, kSequence };

Reason reasonOf(const json::Value& answer) {
    auto said = json::getString(answer, "finish_reason");
    if (said == "length" || said == "max_tokens" || said == "model_context_window_exceeded")
        return Reason::kLength;
    if (said == "content_filter" || said == "refusal") return Reason::kRefusal;
    if (said == "stop_sequence") return Reason::kSequence;
    return callsOf(answer).empty() ? Reason::kStop : Reason::kTools;
}

std::string_view openAiReason(const json::Value& answer) {
    switch (reasonOf(answer)) {
        case Reason::kLength:
            return "length";
        case Reason::kTools:
            return "tool_calls";
        case Reason::kRefusal:
            return "content_filter";
        case Reason::kStop:
        case Reason::kSequence:
            break;
    }
    return "stop";
}

json::Object anthropicReason(const json::Value& answer) {
    auto sequence = json::getString(answer, "stop_sequence");
    std::string_view reason = "end_turn";
    switch (reasonOf(answer)) {
        case Reason::kStop:
            break;
        case Reason::kLength:
            reason = "max_tokens";
            break;
        case Reason::kTools:
            reason = "tool_use";
            break;
        case Reason::kRefusal:
            reason = "refusal";
            break;
        case Reason::kSequence:
            reason = "stop_sequence";
            break;
    }
    return {{"stop_reason", text(reason)},
            {"stop_sequence", sequence.empty() ? json::Value(nullptr) : text(sequence)}};
}

json::Object usageOf(Format format, const json::Value& answer) {
    static const json::Value kNone = json::Object{};
    const auto* usage = json::find(answer, "usage");
    if (usage == nullptr) usage = &kNone;
    auto prompt = json::getInt(*usage, "prompt_tokens");
    auto completion = json::getInt(*usage, "completion_tokens");
    if (format == Format::kAnthropic)
        return {{"input_tokens", prompt},
                {"cache_creation_input_tokens", 0},
                {"cache_read_input_tokens", 0},
                {"output_tokens", completion}};
    return {{"prompt_tokens", prompt},
            {"completion_tokens", completion},
            {"total_tokens", prompt + completion}};
}

/// The API wants an object; what a model wrote that is none is kept beside a name that tells so.
json::Value inputOf(const json::Value& call) {
    auto arguments = json::getString(call, "arguments");
    auto value = json::parse(arguments);
    if (value && value->is_object()) return std::move(*value);
    return json::Object{{"invalid_arguments", text(arguments)}};
}

json::Object openAiCall(const json::Value& call) {
    return {{"id", text(json::getString(call, "id"))},
            {"type", "function"},
            {"function", json::Object{{"name", text(json::getString(call, "name"))},
                                      {"arguments", text(json::getString(call, "arguments"))}}}};
}

json::Object toolUse(const json::Value& call, json::Value input) {
    return {{"type", "tool_use"},
            {"id", text(json::getString(call, "id"))},
            {"name", text(json::getString(call, "name"))},
            {"input", std::move(input)}};
}

json::Object anthropicMessage(const AnswerHead& head, json::Array content, json::Object reason,
                              json::Object usage) {
    json::Object out{{"id", text("msg_" + head.id)},
                     {"type", "message"},
                     {"role", "assistant"},
                     {"model", text(head.model)},
                     {"content", std::move(content)}};
    for (auto& [key, value] : reason)
        out[key] = value;
    out["usage"] = std::move(usage);
    return out;
}

std::string openAiDocument(const AnswerHead& head, const json::Value& answer) {
    auto content = json::getString(answer, "content");
    json::Object message{{"role", "assistant"}};
    const auto& calls = callsOf(answer);
    message["content"] = content.empty() && !calls.empty() ? json::Value(nullptr) : text(content);
    message["refusal"] = nullptr;
    if (!calls.empty()) {
        json::Array list;
        for (const auto& call : calls)
            list.push_back(openAiCall(call));
        message["tool_calls"] = std::move(list);
    }
    json::Object choice{{"index", 0},
                        {"message", std::move(message)},
                        {"logprobs", nullptr},
                        {"finish_reason", text(openAiReason(answer))}};
    return json::dump(json::Object{{"id", text("chatcmpl-" + head.id)},
                                   {"object", "chat.completion"},
                                   {"created", head.created_s},
                                   {"model", text(head.model)},
                                   {"choices", json::Array{std::move(choice)}},
                                   {"usage", usageOf(Format::kOpenAi, answer)},
                                   {"system_fingerprint", nullptr}});
}

std::string anthropicDocument(const AnswerHead& head, const json::Value& answer) {
    json::Array content;
    auto said = json::getString(answer, "content");
    if (!said.empty()) content.push_back(json::Object{{"type", "text"}, {"text", text(said)}});
    for (const auto& call : callsOf(answer))
        content.push_back(toolUse(call, inputOf(call)));
    return json::dump(anthropicMessage(head, std::move(content), anthropicReason(answer),
                                       usageOf(Format::kAnthropic, answer)));
}

/// One event of Anthropic's: its name stands beside it and within.
std::string event(std::string_view type, json::Object members) {
    json::Object data{{"type", text(type)}};
    for (auto& [key, value] : members)
        data[key] = value;
    return wire::encodeSse(
        {.event = std::string(type), .id = {}, .data = json::dump(data), .retry_ms = {}});
}

std::string plainEvent(std::string data) {
    return wire::encodeSse({.event = {}, .id = {}, .data = std::move(data), .retry_ms = {}});
}

struct Shape {
    int status;
    std::string_view type;
    std::string_view code;  ///< OpenAI's, beside the type; empty: null
};

Shape openAiShape(ErrorCode code) {
    constexpr std::string_view kInvalid = "invalid_request_error";
    switch (code) {
        case ErrorCode::kInvalid:
            return {400, kInvalid, ""};
        case ErrorCode::kUnsupported:
            return {400, kInvalid, "unsupported_parameter"};
        case ErrorCode::kUnauthenticated:
            return {401, kInvalid, "invalid_api_key"};
        case ErrorCode::kPermissionDenied:
            return {403, kInvalid, ""};
        case ErrorCode::kNotFound:
            return {404, kInvalid, "model_not_found"};
        case ErrorCode::kConflict:
            return {409, kInvalid, ""};
        case ErrorCode::kTooLarge:
            return {413, kInvalid, ""};
        case ErrorCode::kTooMany:
            return {429, "requests", "rate_limit_exceeded"};
        case ErrorCode::kUnavailable:
            return {503, "server_error", ""};
        default:
            return {500, "server_error", ""};
    }
}

Shape anthropicShape(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalid:
        case ErrorCode::kUnsupported:
            return {400, "invalid_request_error", ""};
        case ErrorCode::kUnauthenticated:
            return {401, "authentication_error", ""};
        case ErrorCode::kPermissionDenied:
            return {403, "permission_error", ""};
        case ErrorCode::kNotFound:
            return {404, "not_found_error", ""};
        case ErrorCode::kConflict:
            return {409, "invalid_request_error", ""};
        case ErrorCode::kTooLarge:
            return {413, "request_too_large", ""};
        case ErrorCode::kTooMany:
            return {429, "rate_limit_error", ""};
        case ErrorCode::kTimeout:
            return {504, "timeout_error", ""};
        case ErrorCode::kUnavailable:
            return {529, "overloaded_error", ""};
        default:
            return {500, "api_error", ""};
    }
}

Shape shapeOf(Format format, ErrorCode code) {
    return format == Format::kOpenAi ? openAiShape(code) : anthropicShape(code);
}

}  // namespace

int statusOf(Format format, ErrorCode code) { return shapeOf(format, code).status; }

std::string errorBody(Format format, const Error& error) {
    auto shape = shapeOf(format, error.code);
    auto said = error.hint.empty() ? error.message : error.message + " (hint: " + error.hint + ")";
    if (format == Format::kAnthropic)
        return json::dump(json::Object{
            {"type", "error"},
            {"error", json::Object{{"type", text(shape.type)}, {"message", text(said)}}}});
    auto param = error.details.empty() ? std::string_view() : error.details.front().path;
    auto orNull = [](std::string_view word) {
        return word.empty() ? json::Value(nullptr) : text(word);
    };
    return json::dump(json::Object{{"error", json::Object{{"message", text(said)},
                                                          {"type", text(shape.type)},
                                                          {"param", orNull(param)},
                                                          {"code", orNull(shape.code)}}}});
}

std::string document(Format format, const AnswerHead& head, const json::Value& answer) {
    return format == Format::kOpenAi ? openAiDocument(head, answer)
                                     : anthropicDocument(head, answer);
}

std::string AnswerStream::chunk(json::Array choices, const json::Value& usage) const {
    json::Object out{{"id", text("chatcmpl-" + head_.id)}, {"object", "chat.completion.chunk"},
                     {"created", head_.created_s},         {"model", text(head_.model)},
                     {"system_fingerprint", nullptr},      {"choices", std::move(choices)}};
    if (include_usage_) out["usage"] = usage;
    return plainEvent(json::dump(out));
}

std::string AnswerStream::choice(json::Object delta, const json::Value& finish_reason) const {
    json::Object one{{"index", 0},
                     {"delta", std::move(delta)},
                     {"logprobs", nullptr},
                     {"finish_reason", finish_reason}};
    return chunk(json::Array{std::move(one)});
}

std::string AnswerStream::begin() {
    if (std::exchange(begun_, true)) return {};
    if (format_ == Format::kOpenAi)
        return choice({{"role", "assistant"}, {"content", ""}, {"refusal", nullptr}});
    json::Object reason{{"stop_reason", nullptr}, {"stop_sequence", nullptr}};
    auto usage = usageOf(format_, nullptr);
    return event("message_start",
                 {{"message", anthropicMessage(head_, {}, std::move(reason), std::move(usage))}});
}

std::string AnswerStream::delta(std::string_view said) {
    auto out = begin();
    if (said.empty()) return out;
    told_ += said.size();
    if (format_ == Format::kOpenAi) return out + choice({{"content", text(said)}});
    if (!std::exchange(in_text_, true))
        out +=
            event("content_block_start",
                  {{"index", 0}, {"content_block", json::Object{{"type", "text"}, {"text", ""}}}});
    return out + event("content_block_delta",
                       {{"index", 0},
                        {"delta", json::Object{{"type", "text_delta"}, {"text", text(said)}}}});
}

std::string AnswerStream::finish(const json::Value& answer) {
    auto said = json::getString(answer, "content");
    auto out = delta(said.size() > told_ ? said.substr(told_) : std::string_view());
    return out + (format_ == Format::kOpenAi ? finishOpenAi(answer) : finishAnthropic(answer));
}

std::string AnswerStream::finishOpenAi(const json::Value& answer) {
    std::string out;
    std::int64_t index = 0;
    for (const auto& call : callsOf(answer)) {
        json::Object numbered{{"index", index++}};
        for (auto& [key, value] : openAiCall(call))
            numbered[key] = value;
        out += choice({{"tool_calls", json::Array{std::move(numbered)}}});
    }
    out += choice({}, text(openAiReason(answer)));
    if (include_usage_) out += chunk({}, usageOf(format_, answer));
    return out + plainEvent("[DONE]");
}

std::string AnswerStream::finishAnthropic(const json::Value& answer) {
    std::string out;
    std::int64_t index = 0;
    if (std::exchange(in_text_, false)) out += event("content_block_stop", {{"index", index++}});
    for (const auto& call : callsOf(answer)) {
        out += event("content_block_start",
                     {{"index", index}, {"content_block", toolUse(call, json::Object{})}});
        json::Object input{{"type", "input_json_delta"},
                           {"partial_json", text(json::dump(inputOf(call)))}};
        out += event("content_block_delta", {{"index", index}, {"delta", std::move(input)}});
        out += event("content_block_stop", {{"index", index++}});
    }
    out += event("message_delta",
                 {{"delta", anthropicReason(answer)}, {"usage", usageOf(format_, answer)}});
    return out + event("message_stop", {});
}

std::string AnswerStream::fail(const Error& error) const {
    auto body = errorBody(format_, error);
    if (format_ == Format::kOpenAi) return plainEvent(std::move(body));
    return wire::encodeSse({.event = "error", .id = {}, .data = std::move(body), .retry_ms = {}});
}

}  // namespace aegis::proto::chat
