#include "models/openai.h"

#include <fmt/format.h>

namespace aegis::models {
namespace {

constexpr std::string_view kDefaultBaseUrl = "https://api.openai.com/v1";

void appendToolCalls(std::string& out, const ports::Message& message, WireNames& names) {
    out += R"(,"tool_calls":[)";
    for (std::size_t i = 0; i < message.tool_calls.size(); ++i) {
        const auto& call = message.tool_calls[i];
        out += fmt::format(
            R"({}{{"id":{},"type":"function","function":{{"name":{},"arguments":{}}}}})",
            i > 0 ? "," : "", json::quote(call.id), json::quote(names.toWire(call.name)),
            json::quote(call.arguments));
    }
    out += ']';
}

void appendMessage(std::string& out, const ports::Message& message, WireNames& names) {
    using Role = ports::Message::Role;
    bool has_calls = message.role == Role::kAssistant && !message.tool_calls.empty();
    switch (message.role) {
        case Role::kSystem:
            out += R"({"role":"system")";
            break;
        case Role::kUser:
            out += R"({"role":"user")";
            break;
        case Role::kAssistant:
            out += R"({"role":"assistant")";
            break;
        case Role::kTool:
            out += R"({"role":"tool","tool_call_id":)" + json::quote(message.tool_call_id);
            break;
    }
    std::string_view content = contentOf(message);
    out += R"(,"content":)";
    // This API has no other way to say that a tool failed.
    if (message.is_error)
        out += json::quote(fmt::format("Error: {}", content));
    else
        out += has_calls && content.empty() ? "null" : json::quote(content);
    if (has_calls) appendToolCalls(out, message, names);
    out += '}';
}

std::string choiceText(const ports::ToolChoice& choice, WireNames& names) {
    using Kind = ports::ToolChoice::Kind;
    switch (choice.kind) {
        case Kind::kAuto: return R"("auto")";
        case Kind::kNone: return R"("none")";
        case Kind::kAny: return R"("required")";
        case Kind::kOne: break;
    }
    return fmt::format(R"({{"type":"function","function":{{"name":{}}}}})",
                       json::quote(names.toWire(choice.name)));
}

void appendTools(std::string& out, const ports::ModelRequest& request, WireNames& names) {
    if (request.tools.empty()) return;
    out += R"(,"tools":[)";
    for (std::size_t i = 0; i < request.tools.size(); ++i) {
        const auto& tool = request.tools[i];
        out += fmt::format(
            R"({}{{"type":"function","function":{{"name":{},"description":{},"parameters":{}{}}}}})",
            i > 0 ? "," : "", json::quote(names.toWire(tool.name)), json::quote(tool.description),
            parametersText(tool.parameters), tool.strict ? R"(,"strict":true)" : "");
    }
    out += ']';
    if (request.tool_choice) out += R"(,"tool_choice":)" + choiceText(*request.tool_choice, names);
    if (!request.parallel_tool_calls) out += R"(,"parallel_tool_calls":false)";
}

}  // namespace

std::string OpenAiDialect::body(const ports::ModelRequest& request, WireNames& names) const {
    std::string out = R"({"model":)" + json::quote(settings_.model) + R"(,"messages":[)";
    for (std::size_t i = 0; i < request.messages.size(); ++i) {
        if (i > 0) out += ',';
        appendMessage(out, request.messages[i], names);
    }
    out += ']';
    appendTools(out, request, names);
    auto temperature = request.temperature ? request.temperature : settings_.temperature;
    if (temperature) out += R"(,"temperature":)" + json::dumpNumber(*temperature);
    if (request.top_p) out += R"(,"top_p":)" + json::dumpNumber(*request.top_p);
    if (!request.stop.empty()) out += R"(,"stop":)" + listText(request.stop);
    auto max_tokens = request.max_tokens ? request.max_tokens : settings_.max_tokens;
    if (max_tokens) {
        std::string_view field = settings_.max_tokens_field;
        if (field.empty())
            field = settings_.base_url.empty() ? "max_completion_tokens" : "max_tokens";
        out += fmt::format(",{}:{}", json::quote(field), *max_tokens);
    }
    out += R"(,"stream":true,"stream_options":{"include_usage":true}})";
    return out;
}

WireRequest OpenAiDialect::encode(const ports::ModelRequest& request) const {
    WireRequest out;
    out.tools = wireNamesOf(request);
    out.url = joinUrl(settings_.base_url, kDefaultBaseUrl, "/chat/completions");
    bool azure = !settings_.api_version.empty();
    if (azure) out.url += "?api-version=" + settings_.api_version;
    out.headers = {{"Content-Type", "application/json"}, {"Accept", "text/event-stream"}};
    if (!settings_.api_key.empty()) {
        if (azure) {
            out.secret_headers.emplace_back("api-key", settings_.api_key);
        } else {
            out.secret_headers.emplace_back("Authorization",
                                            Secret("Bearer " + settings_.api_key.reveal()));
        }
    }
    out.body = std::make_shared<const std::string>(body(request, out.tools));
    return out;
}

}  // namespace aegis::models
