// Requests of OpenAI's Chat Completions (https://platform.openai.com/docs/api-reference/chat).

#include "proto/chat_reading.h"

namespace aegis::proto::chat {
namespace {

constexpr std::size_t kMaxName = 64;
constexpr std::int64_t kMaxTokens = 100'000'000;

Result<json::Array> readCalls(const json::Array& calls, const Place& place) {
    json::Array out;
    if (calls.empty()) return place.bad("expected at least one tool call");
    for (std::size_t i = 0; i < calls.size(); ++i) {
        AEGIS_TRY(auto call, Fields::of(calls[i], place.at(i)));
        AEGIS_CHECK(call.only({"id", "type", "function"}));
        AEGIS_TRY(auto id, call.text("id"));
        AEGIS_TRY(auto type, call.text("type"));
        if (type != "function") return call.at("type").unsupported();
        const auto* member = call.find("function");
        if (member == nullptr) return call.at("function").bad("this field is required");
        AEGIS_TRY(auto function, Fields::of(*member, call.at("function")));
        AEGIS_CHECK(function.only({"name", "arguments"}));
        AEGIS_TRY(auto name, function.text("name"));
        AEGIS_CHECK(checkName(name, kMaxName, function.at("name")));
        AEGIS_TRY(auto arguments, function.text("arguments"));
        out.push_back(toolCall(id, name, arguments));
    }
    return out;
}

Result<json::Object> readMessage(const Fields& given) {
    AEGIS_TRY(auto role, given.text("role"));
    const auto* content = given.find("content");
    std::string text;
    if (content != nullptr) {
        AEGIS_TRY(text, contentText(*content, given.at("content"), {}));
    }
    if (role == "assistant") {
        // "annotations" is what the API itself says beside a text, and comes back as it was.
        AEGIS_CHECK(given.only({"role", "content", "tool_calls", "annotations"},
                               {"name", "refusal", "audio", "function_call"}));
        AEGIS_TRY(const auto* notes, given.list("annotations", kMaxCalls));
        if (notes != nullptr && !notes->empty()) return given.at("annotations").unsupported();
        AEGIS_TRY(const auto* calls, given.list("tool_calls", kMaxCalls));
        auto out = message(role, text);
        if (calls == nullptr && content == nullptr)
            return given.at("content").bad("this field is required where there are no tool calls");
        if (calls != nullptr) {
            AEGIS_TRY(out["tool_calls"], readCalls(*calls, given.at("tool_calls")));
        }
        return out;
    }
    if (content == nullptr) return given.at("content").bad("this field is required");
    if (role == "tool") {
        AEGIS_CHECK(given.only({"role", "content", "tool_call_id"}, {"name"}));
        AEGIS_TRY(auto id, given.text("tool_call_id"));
        auto out = message(role, text);
        out["tool_call_id"] = boost::json::string(id.data(), id.size());
        return out;
    }
    AEGIS_CHECK(given.only({"role", "content"}, {"name"}));
    if (role == "system" || role == "developer") return message("system", text);
    if (role == "user") return message(role, text);
    return given.at("role").bad("expected system, developer, user, assistant or tool");
}

Status readTools(const Fields& body, ToolList& tools) {
    AEGIS_TRY(const auto* list, body.list("tools", kMaxTools));
    for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
        AEGIS_TRY(auto tool, Fields::of((*list)[i], body.at("tools").at(i)));
        AEGIS_TRY(auto type, tool.text("type"));
        if (type != "function") return tool.at("type").unsupported();
        AEGIS_CHECK(tool.only({"type", "function"}));
        const auto* member = tool.find("function");
        if (member == nullptr) return tool.at("function").bad("this field is required");
        AEGIS_TRY(auto function, Fields::of(*member, tool.at("function")));
        AEGIS_CHECK(function.only({"name", "description", "parameters", "strict"}));
        AEGIS_TRY(auto name, function.text("name"));
        AEGIS_CHECK(checkName(name, kMaxName, function.at("name")));
        AEGIS_TRY(auto description, function.optionalText("description"));
        AEGIS_TRY(auto strict, function.boolean("strict", false));
        const auto* parameters = function.find("parameters");
        if (parameters != nullptr && !parameters->is_object())
            return function.at("parameters").bad("expected a JSON Schema that is an object");
        AEGIS_CHECK(
            tools.add(name, description.value_or(""), parameters, strict, function.at("name")));
    }
    return {};
}

Result<json::Value> readChoice(const json::Value& choice, const Place& place,
                               const ToolList& tools) {
    if (choice.is_string()) {
        auto text = json::view(choice.get_string());
        if (text == "auto" || text == "none" || text == "required") return choice;
        return place.bad("expected auto, none, required or a function");
    }
    AEGIS_TRY(auto given, Fields::of(choice, place));
    AEGIS_TRY(auto type, given.text("type"));
    if (type != "function") return given.at("type").unsupported();
    AEGIS_CHECK(given.only({"type", "function"}));
    const auto* member = given.find("function");
    if (member == nullptr) return given.at("function").bad("this field is required");
    AEGIS_TRY(auto function, Fields::of(*member, given.at("function")));
    AEGIS_CHECK(function.only({"name"}));
    AEGIS_TRY(auto name, function.text("name"));
    if (!tools.has(name)) return function.at("name").bad("no such tool");
    return json::Value(json::Object{{"name", *function.find("name")}});
}

/// Members that have a meaning only with some providers may be there with the value that has none.
Status checkNeutral(const Fields& body) {
    AEGIS_TRY(auto n, body.integer("n", 0, kMaxTokens));
    if (n.value_or(1) != 1) return body.at("n").unsupported("only 1 is supported here");
    AEGIS_TRY(auto logprobs, body.boolean("logprobs", false));
    if (logprobs) return body.at("logprobs").unsupported();
    AEGIS_TRY(auto store, body.boolean("store", false));
    if (store) return body.at("store").unsupported();
    for (auto key : {"frequency_penalty", "presence_penalty", "top_logprobs"}) {
        AEGIS_TRY(auto number, body.number(key, -2, 20));
        if (number.value_or(0) != 0) return body.at(key).unsupported();
    }
    const auto* bias = body.find("logit_bias");
    if (bias != nullptr && !(bias->is_object() && bias->get_object().empty()))
        return body.at("logit_bias").unsupported();
    static const json::Value kText = json::Object{{"type", "text"}};
    const auto* shape = body.find("response_format");
    if (shape != nullptr && *shape != kText)
        return body.at("response_format").unsupported("only {\"type\":\"text\"} is supported here");
    static const json::Value kOnlyText = json::Array{"text"};
    const auto* modalities = body.find("modalities");
    if (modalities != nullptr && *modalities != kOnlyText)
        return body.at("modalities").unsupported();
    return {};
}

Status readSampling(const Fields& body, json::Object& out) {
    AEGIS_TRY(auto temperature, body.number("temperature", 0, 2));
    if (temperature) out["temperature"] = *temperature;
    AEGIS_TRY(auto top_p, body.number("top_p", 0, 1));
    if (top_p) out["top_p"] = *top_p;
    AEGIS_TRY(auto older, body.integer("max_tokens", 1, kMaxTokens));
    AEGIS_TRY(auto newer, body.integer("max_completion_tokens", 1, kMaxTokens));
    if (older && newer) return body.at("max_tokens").bad("not together with max_completion_tokens");
    if (older || newer) out["max_tokens"] = older ? *older : *newer;
    const auto* stop = body.find("stop");
    if (stop == nullptr) return {};
    if (stop->is_string()) {
        out["stop"] = json::Array{*stop};
        return {};
    }
    constexpr std::size_t kMaxStops = 4;
    AEGIS_TRY(const auto* list, body.list("stop", kMaxStops));
    AEGIS_TRY(auto stops, texts(*list, body.at("stop")));
    if (!stops.empty()) out["stop"] = std::move(stops);
    return {};
}

Status readStreaming(const Fields& body, Request& request) {
    AEGIS_TRY(request.stream, body.boolean("stream", false));
    const auto* options = body.find("stream_options");
    if (options == nullptr) return {};
    if (!request.stream) return body.at("stream_options").bad("only with stream");
    AEGIS_TRY(auto fields, Fields::of(*options, body.at("stream_options")));
    // Padding against traffic analysis has nothing to do on a socket of one's own.
    AEGIS_CHECK(fields.only({"include_usage", "include_obfuscation"}));
    AEGIS_TRY(request.include_usage, fields.boolean("include_usage", false));
    return {};
}

}  // namespace

Result<Request> parseOpenAi(const Fields& body) {
    AEGIS_CHECK(body.only({"model",
                           "messages",
                           "tools",
                           "tool_choice",
                           "parallel_tool_calls",
                           "temperature",
                           "top_p",
                           "max_tokens",
                           "max_completion_tokens",
                           "stop",
                           "stream",
                           "stream_options",
                           "n",
                           "logprobs",
                           "top_logprobs",
                           "frequency_penalty",
                           "presence_penalty",
                           "logit_bias",
                           "response_format",
                           "modalities",
                           "store",
                           "user",
                           "metadata",
                           "safety_identifier",
                           "prompt_cache_key",
                           "prompt_cache_retention",
                           "service_tier"},
                          {"seed", "reasoning_effort", "verbosity", "audio", "prediction",
                           "web_search_options", "functions", "function_call"}));
    AEGIS_CHECK(checkNeutral(body));
    Request out;
    AEGIS_TRY(auto model, body.text("model"));
    out.model = model;
    if (model.empty()) return body.at("model").bad("expected the name of a model alias");
    AEGIS_CHECK(readStreaming(body, out));
    out.prompt["format"] = "openai";
    AEGIS_TRY(const auto* list, body.list("messages", kMaxMessages));
    if (list == nullptr) return body.at("messages").bad("this field is required");
    json::Array messages;
    for (std::size_t i = 0; i < list->size(); ++i) {
        AEGIS_TRY(auto given, Fields::of((*list)[i], body.at("messages").at(i)));
        AEGIS_TRY(auto read, readMessage(given));
        messages.push_back(std::move(read));
    }
    AEGIS_CHECK(checkTurns(messages, body.at("messages")));
    out.prompt["messages"] = std::move(messages);
    ToolList tools;
    AEGIS_CHECK(readTools(body, tools));
    AEGIS_TRY(auto parallel, body.boolean("parallel_tool_calls", true));
    const auto* choice = body.find("tool_choice");
    if (choice != nullptr) {
        AEGIS_TRY(auto read, readChoice(*choice, body.at("tool_choice"), tools));
        out.prompt["tool_choice"] = std::move(read);
    }
    auto offered = tools.take();
    if (offered.empty() && choice != nullptr) return body.at("tool_choice").bad("only with tools");
    if (!offered.empty()) out.prompt["tools"] = std::move(offered);
    if (!parallel) out.prompt["parallel_tool_calls"] = false;
    AEGIS_CHECK(readSampling(body, out.prompt));
    return out;
}

}  // namespace aegis::proto::chat
