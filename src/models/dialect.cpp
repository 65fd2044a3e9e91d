#include "models/dialect.h"

#include "text/escape.h"

namespace aegis::models {
namespace {

// The text of "error" (a string, or an object with "message"), "message" or "detail".
std::string_view messageIn(const json::Value& value) {
    if (const json::Value* error = json::find(value, "error")) {
        if (error->is_string()) return json::view(error->get_string());
        if (auto message = json::getString(*error, "message"); !message.empty()) return message;
    }
    if (auto message = json::getString(value, "message"); !message.empty()) return message;
    return json::getString(value, "detail");
}

}  // namespace

std::string joinUrl(std::string_view base_url, std::string_view fallback, std::string_view path) {
    std::string url(base_url.empty() ? fallback : base_url);
    while (url.ends_with('/'))
        url.pop_back();
    return url.append(path);
}

std::string parametersText(const json::Value& parameters) {
    const auto* object = parameters.if_object();
    if (object == nullptr) return R"({"type":"object","properties":{}})";
    if (object->contains("type")) return json::dump(parameters);
    json::Object typed = *object;
    typed["type"] = "object";
    return json::dump(typed);
}

std::string listText(const std::vector<std::string>& texts) {
    json::Array out;
    for (const auto& text : texts)
        out.emplace_back(json::toUtf8(text));
    return json::dump(out);
}

WireNames wireNamesOf(const ports::ModelRequest& request) {
    WireNames names;
    std::vector<std::string> offered, called;
    for (const auto& tool : request.tools)
        offered.push_back(tool.name);
    for (const auto& message : request.messages)
        for (const auto& call : message.tool_calls)
            called.push_back(call.name);
    names.add(offered);
    names.add(called);
    return names;
}

std::string oneLine(std::string_view text, std::size_t limit) {
    return text::shorten(text::escapeControl(text::headUtf8(text, 2 * limit)), limit);
}

std::string providerMessage(std::string_view body) {
    auto value = json::parse(body, {.allow_duplicate_keys = true});
    if (value) return oneLine(messageIn(*value));
    while (!body.empty() && std::string_view(" \t\r\n").contains(body.front()))
        body.remove_prefix(1);
    while (!body.empty() && std::string_view(" \t\r\n").contains(body.back()))
        body.remove_suffix(1);
    return body.starts_with('<') ? std::string() : oneLine(body, 200);
}

}  // namespace aegis::models
