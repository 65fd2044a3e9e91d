// Requests of Anthropic's Messages API (https://docs.anthropic.com/en/api/messages).

#include "proto/chat_reading.h"

namespace aegis::proto::chat {
namespace {

constexpr std::size_t kMaxName = 128;
constexpr std::size_t kMaxBlocks = 10'000;
constexpr std::int64_t kMaxTokens = 100'000'000;

Result<std::string> resultText(const Fields& block) {
    const auto* content = block.find("content");
    if (content == nullptr) return std::string();
    return contentText(*content, block.at("content"), {"cache_control"});
}

/// Puts the blocks of one message into the one form: a message of its own for each result.
class Blocks {
  public:
    Blocks(std::string_view role, json::Array& out) : role_(role), out_(out) {}

    Status add(const Fields& block) {
        AEGIS_TRY(auto type, block.text("type"));
        if (type == "text") return addText(block);
        if (type == "tool_use") return addCall(block);
        if (type == "tool_result") return addResult(block);
        return block.at("type").unsupported(
            "only text, tool_use and tool_result are supported here");
    }
    void finish() {
        if (!any_text_ && calls_.empty()) return;
        auto whole = message(role_, text_);
        if (!calls_.empty()) whole["tool_calls"] = std::move(calls_);
        out_.push_back(std::move(whole));
    }

  private:
    Status addText(const Fields& block) {
        AEGIS_CHECK(block.only({"type", "text", "cache_control"}, {"citations"}));
        AEGIS_TRY(auto text, block.text("text"));
        if (!calls_.empty()) return block.place().unsupported("a text must come before tool_use");
        if (any_text_) text_ += '\n';
        text_ += text;
        any_text_ = true;
        return {};
    }
    Status addCall(const Fields& block) {
        if (role_ != "assistant") return block.place().bad("tool_use is the assistant's");
        AEGIS_CHECK(block.only({"type", "id", "name", "input", "cache_control"}, {"caller"}));
        AEGIS_TRY(auto id, block.text("id"));
        AEGIS_TRY(auto name, block.text("name"));
        AEGIS_CHECK(checkName(name, kMaxName, block.at("name")));
        const auto* input = block.find("input");
        if (input == nullptr || !input->is_object())
            return block.at("input").bad("expected an object");
        if (calls_.size() >= kMaxCalls) return block.place().bad("too many tool calls");
        calls_.push_back(toolCall(id, name, json::dump(*input)));
        return {};
    }
    Status addResult(const Fields& block) {
        if (role_ != "user") return block.place().bad("tool_result is the user's");
        if (any_text_) return block.place().bad("tool_result must come before a text");
        AEGIS_CHECK(block.only({"type", "tool_use_id", "content", "is_error", "cache_control"}));
        AEGIS_TRY(auto id, block.text("tool_use_id"));
        AEGIS_TRY(auto text, resultText(block));
        AEGIS_TRY(auto is_error, block.boolean("is_error", false));
        auto result = message("tool", text);
        result["tool_call_id"] = boost::json::string(id.data(), id.size());
        if (is_error) result["is_error"] = true;
        out_.push_back(std::move(result));
        return {};
    }

    std::string_view role_;
    json::Array& out_;
    std::string text_;
    bool any_text_ = false;
    json::Array calls_;
};

Status readMessage(const Fields& given, json::Array& out) {
    AEGIS_CHECK(given.only({"role", "content"}));
    AEGIS_TRY(auto role, given.text("role"));
    if (role != "user" && role != "assistant")
        return given.at("role").bad(
            "expected user or assistant; a system prompt has a field of "
            "its own");
    const auto* content = given.find("content");
    if (content == nullptr) return given.at("content").bad("this field is required");
    if (content->is_string()) {
        auto text = json::view(content->get_string());
        if (text.empty()) return given.at("content").bad("expected a text that is not empty");
        out.push_back(message(role, text));
        return {};
    }
    AEGIS_TRY(const auto* list, given.list("content", kMaxBlocks));
    if (list->empty()) return given.at("content").bad("expected at least one block");
    Blocks blocks(role, out);
    for (std::size_t i = 0; i < list->size(); ++i) {
        AEGIS_TRY(auto block, Fields::of((*list)[i], given.at("content").at(i)));
        AEGIS_CHECK(blocks.add(block));
    }
    blocks.finish();
    return {};
}

Status readTools(const Fields& body, ToolList& tools) {
    AEGIS_TRY(const auto* list, body.list("tools", kMaxTools));
    for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
        AEGIS_TRY(auto tool, Fields::of((*list)[i], body.at("tools").at(i)));
        AEGIS_TRY(auto type, tool.optionalText("type"));
        if (type.value_or("custom") != "custom")
            return tool.at("type").unsupported("only tools of the client's own are supported here");
        AEGIS_CHECK(tool.only(
            {"type", "name", "description", "input_schema", "strict", "cache_control"},
            {"input_examples", "defer_loading", "allowed_callers", "eager_input_streaming"}));
        AEGIS_TRY(auto name, tool.text("name"));
        AEGIS_CHECK(checkName(name, kMaxName, tool.at("name")));
        AEGIS_TRY(auto description, tool.optionalText("description"));
        AEGIS_TRY(auto strict, tool.boolean("strict", false));
        const auto* schema = tool.find("input_schema");
        if (schema == nullptr || !schema->is_object())
            return tool.at("input_schema").bad("expected a JSON Schema that is an object");
        AEGIS_CHECK(tools.add(name, description.value_or(""), schema, strict, tool.at("name")));
    }
    return {};
}

Status readChoice(const Fields& body, const ToolList& tools, json::Object& out) {
    const auto* choice = body.find("tool_choice");
    if (choice == nullptr) return {};
    AEGIS_TRY(auto given, Fields::of(*choice, body.at("tool_choice")));
    AEGIS_CHECK(given.only({"type", "name", "disable_parallel_tool_use"}));
    AEGIS_TRY(auto type, given.text("type"));
    AEGIS_TRY(auto single, given.boolean("disable_parallel_tool_use", false));
    if (type == "tool") {
        AEGIS_TRY(auto name, given.text("name"));
        if (!tools.has(name)) return given.at("name").bad("no such tool");
        out["tool_choice"] = json::Object{{"name", *given.find("name")}};
    } else if (type == "auto" || type == "none") {
        out["tool_choice"] = boost::json::string(type.data(), type.size());
    } else if (type == "any") {
        out["tool_choice"] = "required";
    } else {
        return given.at("type").bad("expected auto, any, tool or none");
    }
    if (single) out["parallel_tool_calls"] = false;
    return {};
}

Status readSampling(const Fields& body, json::Object& out) {
    AEGIS_TRY(auto temperature, body.number("temperature", 0, 1));
    if (temperature) out["temperature"] = *temperature;
    AEGIS_TRY(auto top_p, body.number("top_p", 0, 1));
    if (top_p) out["top_p"] = *top_p;
    AEGIS_TRY(auto max_tokens, body.integer("max_tokens", 1, kMaxTokens));
    if (!max_tokens) return body.at("max_tokens").bad("this field is required");
    out["max_tokens"] = *max_tokens;
    constexpr std::size_t kMaxStops = 64;
    AEGIS_TRY(const auto* list, body.list("stop_sequences", kMaxStops));
    if (list == nullptr) return {};
    AEGIS_TRY(auto stops, texts(*list, body.at("stop_sequences")));
    if (!stops.empty()) out["stop"] = std::move(stops);
    return {};
}

Status readMessages(const Fields& body, json::Object& out) {
    json::Array messages;
    if (const auto* system = body.find("system")) {
        AEGIS_TRY(auto text, contentText(*system, body.at("system"), {"cache_control"}));
        if (!text.empty()) messages.push_back(message("system", text));
    }
    AEGIS_TRY(const auto* list, body.list("messages", kMaxMessages));
    if (list == nullptr || list->empty())
        return body.at("messages").bad("at least one message is required");
    for (std::size_t i = 0; i < list->size(); ++i) {
        AEGIS_TRY(auto given, Fields::of((*list)[i], body.at("messages").at(i)));
        if (i == 0 && json::getString((*list)[i], "role") == "assistant")
            return given.at("role").bad("the first message must be the user's");
        AEGIS_CHECK(readMessage(given, messages));
    }
    AEGIS_CHECK(checkTurns(messages, body.at("messages")));
    out["messages"] = std::move(messages);
    return {};
}

}  // namespace

Result<Request> parseAnthropic(const Fields& body) {
    // "metadata" and "service_tier" do not change an answer, "cache_control" only what it costs.
    AEGIS_CHECK(body.only(
        {"model", "messages", "max_tokens", "system", "stop_sequences", "stream", "temperature",
         "top_p", "tools", "tool_choice", "metadata", "service_tier", "cache_control", "thinking"},
        {"top_k", "container", "context_management", "mcp_servers", "output_config",
         "output_format", "inference_geo", "speed"}));
    if (const auto* thinking = body.find("thinking")) {
        AEGIS_TRY(auto given, Fields::of(*thinking, body.at("thinking")));
        AEGIS_TRY(auto type, given.text("type"));
        if (type != "disabled") return body.at("thinking").unsupported();
    }
    Request out;
    AEGIS_TRY(auto model, body.text("model"));
    out.model = model;
    if (model.empty()) return body.at("model").bad("expected the name of a model alias");
    AEGIS_TRY(out.stream, body.boolean("stream", false));
    out.prompt["format"] = "anthropic";
    AEGIS_CHECK(readMessages(body, out.prompt));
    ToolList tools;
    AEGIS_CHECK(readTools(body, tools));
    AEGIS_CHECK(readChoice(body, tools, out.prompt));
    if (auto offered = tools.take(); !offered.empty()) out.prompt["tools"] = std::move(offered);
    AEGIS_CHECK(readSampling(body, out.prompt));
    return out;
}

}  // namespace aegis::proto::chat
