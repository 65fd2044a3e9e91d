#include "models/anthropic.h"

#include <fmt/format.h>

namespace aegis::models {
namespace {

using Role = ports::Message::Role;

constexpr std::string_view kDefaultBaseUrl = "https://api.anthropic.com";
constexpr std::string_view kVersion = "2023-06-01";
constexpr int kDefaultMaxTokens = 4096;

std::string textBlock(std::string_view text) {
    return fmt::format(R"({{"type":"text","text":{}}})", json::quote(text));
}

// The API wants an object; what a model wrote that is none is kept beside a name that tells so.
std::string inputOf(const std::string& arguments) {
    auto value = json::parse(arguments);
    if (value && value->is_object()) return json::dump(*value);
    return fmt::format(R"({{"invalid_arguments":{}}})", json::quote(arguments));
}

// Writes the messages as the API wants them: user and assistant take turns, and the results of all
// tool calls of an answer are blocks of the one user message after it.
class MessageWriter {
  public:
    MessageWriter(std::string& out, WireNames& names) : out_(out), names_(names) {}

    void add(const ports::Message& message) {
        bool from_assistant = message.role == Role::kAssistant;
        std::string_view text = contentOf(message);
        if (message.role == Role::kTool) {
            block(false,
                  fmt::format(R"({{"type":"tool_result","tool_use_id":{},"content":{}{}}})",
                              json::quote(ids_.toWire(message.tool_call_id)), json::quote(text),
                              message.is_error ? R"(,"is_error":true)" : ""));
            return;
        }
        // Empty text blocks are refused.
        if (!text.empty()) block(from_assistant, textBlock(text));
        for (const auto& call : message.tool_calls)
            block(true,
                  fmt::format(R"({{"type":"tool_use","id":{},"name":{},"input":{}}})",
                              json::quote(ids_.toWire(call.id)),
                              json::quote(names_.toWire(call.name)), inputOf(call.arguments)));
    }

    void finish() {
        if (any_) out_ += "]}";
    }

  private:
    void block(bool from_assistant, std::string_view text) {
        if (any_ && from_assistant == from_assistant_) {
            out_ += ',';
        } else {
            out_ += any_ ? "]}," : "";
            out_ +=
                fmt::format(R"({{"role":"{}","content":[)", from_assistant ? "assistant" : "user");
        }
        out_ += text;
        any_ = true;
        from_assistant_ = from_assistant;
    }

    std::string& out_;
    WireNames& names_;
    WireNames ids_;  ///< another provider's ids may have other characters
    bool any_ = false;
    bool from_assistant_ = false;
};

void appendSystem(std::string& out, const ports::ModelRequest& request) {
    std::string blocks;
    for (const auto& message : request.messages) {
        if (message.role != Role::kSystem || contentOf(message).empty()) continue;
        blocks += blocks.empty() ? "" : ",";
        blocks += textBlock(contentOf(message));
    }
    if (!blocks.empty()) out += fmt::format(R"(,"system":[{}])", blocks);
}

void appendTools(std::string& out, const ports::ModelRequest& request, WireNames& names) {
    std::string tools;
    for (const auto& tool : request.tools)
        tools += fmt::format(R"({}{{"name":{},"description":{},"input_schema":{}}})",
                             tools.empty() ? "" : ",", json::quote(names.toWire(tool.name)),
                             json::quote(tool.description), parametersText(tool.parameters));
    if (tools.empty()) return;
    out += fmt::format(R"(,"tools":[{}])", tools);
    if (!request.tool_choice && request.parallel_tool_calls) return;
    auto choice = request.tool_choice.value_or(ports::ToolChoice{});
    out += R"(,"tool_choice":{"type":)";
    using Kind = ports::ToolChoice::Kind;
    switch (choice.kind) {
        case Kind::kAuto: out += R"("auto")"; break;
        case Kind::kNone: out += R"("none")"; break;
        case Kind::kAny: out += R"("any")"; break;
        case Kind::kOne:
            out += R"("tool","name":)" + json::quote(names.toWire(choice.name));
            break;
    }
    if (!request.parallel_tool_calls && choice.kind != Kind::kNone)
        out += R"(,"disable_parallel_tool_use":true)";
    out += '}';
}

}  // namespace

std::string AnthropicDialect::body(const ports::ModelRequest& request, WireNames& names) const {
    auto max_tokens = request.max_tokens ? request.max_tokens : settings_.max_tokens;
    std::string out = fmt::format(R"({{"model":{},"max_tokens":{})", json::quote(settings_.model),
                                  max_tokens.value_or(kDefaultMaxTokens));
    appendSystem(out, request);
    out += R"(,"messages":[)";
    MessageWriter writer(out, names);
    for (const auto& message : request.messages)
        if (message.role != Role::kSystem) writer.add(message);
    writer.finish();
    out += ']';
    appendTools(out, request, names);
    auto temperature = request.temperature ? request.temperature : settings_.temperature;
    if (temperature) out += R"(,"temperature":)" + json::dumpNumber(*temperature);
    if (request.top_p) out += R"(,"top_p":)" + json::dumpNumber(*request.top_p);
    if (!request.stop.empty()) out += R"(,"stop_sequences":)" + listText(request.stop);
    out += R"(,"stream":true})";
    return out;
}

WireRequest AnthropicDialect::encode(const ports::ModelRequest& request) const {
    WireRequest out;
    out.tools = wireNamesOf(request);
    out.url = joinUrl(settings_.base_url, kDefaultBaseUrl, "/v1/messages");
    out.headers = {{"Content-Type", "application/json"},
                   {"Accept", "text/event-stream"},
                   {"anthropic-version", std::string(kVersion)}};
    if (!settings_.api_key.empty()) out.secret_headers.emplace_back("x-api-key", settings_.api_key);
    out.body = std::make_shared<const std::string>(body(request, out.tools));
    return out;
}

}  // namespace aegis::models
