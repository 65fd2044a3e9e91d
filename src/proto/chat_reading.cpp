#include "proto/chat_reading.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/escape.h"

namespace aegis::proto::chat {

Place Place::at(std::string_view key) const {
    auto out = *this;
    if (!out.path_.empty()) out.path_ += '.';
    out.path_ += text::shorten(text::escapeControl(text::headUtf8(key, 128)), 100);
    return out;
}

Place Place::at(std::size_t index) const {
    auto out = *this;
    out.path_ += fmt::format(fmt::runtime(format_ == Format::kOpenAi ? "[{}]" : ".{}"), index);
    return out;
}

Error Place::bad(std::string_view what, ErrorCode code) const {
    Error error(code, format_ == Format::kOpenAi ? fmt::format("Invalid '{}': {}.", path_, what)
                                                 : fmt::format("{}: {}", path_, what));
    error.details.push_back({.path = path_, .message = std::string(what)});
    return error;
}

Result<Fields> Fields::of(const json::Value& value, Place place) {
    if (!value.is_object()) return place.bad("expected an object");
    return Fields(value, std::move(place));
}

const json::Value* Fields::find(std::string_view key) const {
    const auto* member = json::find(*value_, key);
    return member != nullptr && member->is_null() ? nullptr : member;
}

Result<std::string_view> Fields::text(std::string_view key) const {
    const auto* member = find(key);
    if (member == nullptr) return at(key).bad("this field is required");
    if (!member->is_string()) return at(key).bad("expected a string");
    return json::view(member->get_string());
}

Result<std::optional<std::string_view>> Fields::optionalText(std::string_view key) const {
    if (find(key) == nullptr) return std::optional<std::string_view>();
    AEGIS_TRY(auto text, this->text(key));
    return std::optional(text);
}

Result<bool> Fields::boolean(std::string_view key, bool fallback) const {
    const auto* member = find(key);
    if (member == nullptr) return fallback;
    if (!member->is_bool()) return at(key).bad("expected true or false");
    return member->get_bool();
}

Result<std::optional<double>> Fields::number(std::string_view key, double low, double high) const {
    const auto* member = find(key);
    if (member == nullptr) return std::optional<double>();
    if (!member->is_number()) return at(key).bad("expected a number");
    auto number = member->to_number<double>();
    if (number < low || number > high)
        return at(key).bad(fmt::format("expected a number of {} to {}", low, high));
    return std::optional(number);
}

Result<std::optional<std::int64_t>> Fields::integer(std::string_view key, std::int64_t low,
                                                    std::int64_t high) const {
    const auto* member = find(key);
    if (member == nullptr) return std::optional<std::int64_t>();
    const auto* number = member->if_int64();
    if (number == nullptr || *number < low || *number > high)
        return at(key).bad(fmt::format("expected an integer of {} to {}", low, high));
    return std::optional(*number);
}

Result<const json::Array*> Fields::list(std::string_view key, std::size_t most) const {
    const auto* member = find(key);
    if (member == nullptr) return static_cast<const json::Array*>(nullptr);
    const auto* list = member->if_array();
    if (list == nullptr) return at(key).bad("expected a list");
    if (list->size() > most) return at(key).bad(fmt::format("more than {} entries", most));
    return list;
}

Status Fields::only(Keys known, Keys unsupported) const {
    for (const auto& [name, member] : value_->get_object()) {
        std::string_view key(name.data(), name.size());
        if (member.is_null() || std::ranges::find(known, key) != known.end()) continue;
        if (std::ranges::find(unsupported, key) != unsupported.end()) return at(key).unsupported();
        return at(key).bad("unknown field");
    }
    return {};
}

Result<std::string> contentText(const json::Value& content, const Place& place, Keys may_have) {
    if (content.is_string()) return std::string(json::view(content.get_string()));
    const auto* parts = content.if_array();
    if (parts == nullptr) return place.bad("expected a string or a list");
    std::string out;
    for (std::size_t i = 0; i < parts->size(); ++i) {
        AEGIS_TRY(auto part, Fields::of((*parts)[i], place.at(i)));
        AEGIS_TRY(auto type, part.text("type"));
        if (type != "text")
            return part.at("type").unsupported("only parts of type text are supported here");
        for (const auto& [name, member] : part.value().get_object()) {
            std::string_view key(name.data(), name.size());
            bool known = key == "type" || key == "text" || member.is_null() ||
                         std::ranges::find(may_have, key) != may_have.end();
            if (!known) return part.at(key).bad("unknown field");
        }
        AEGIS_TRY(auto text, part.text("text"));
        if (i > 0) out += '\n';
        out += text;
    }
    return out;
}

Status checkName(std::string_view name, std::size_t most, const Place& place) {
    bool legal = std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
    });
    if (legal && !name.empty() && name.size() <= most) return {};
    return place.bad(fmt::format("expected a name that matches ^[a-zA-Z0-9_-]{{1,{}}}$", most));
}

json::Object message(std::string_view role, std::string_view content) {
    return {{"role", boost::json::string(role.data(), role.size())},
            {"content", boost::json::string(content.data(), content.size())}};
}

json::Object toolCall(std::string_view id, std::string_view name, std::string_view arguments) {
    return {{"id", boost::json::string(id.data(), id.size())},
            {"name", boost::json::string(name.data(), name.size())},
            {"arguments", boost::json::string(arguments.data(), arguments.size())}};
}

Result<json::Array> texts(const json::Array& list, const Place& place) {
    for (std::size_t i = 0; i < list.size(); ++i)
        if (!list[i].is_string()) return place.at(i).bad("expected a string");
    return list;
}

namespace {

/// The ids of a message's tool calls, each once.
Result<std::set<std::string>> idsOf(const json::Value& message, const Place& place) {
    std::set<std::string> ids;
    const auto* calls = json::find(message, "tool_calls");
    if (calls == nullptr) return ids;
    for (const auto& call : calls->get_array()) {
        std::string id(json::getString(call, "id"));
        if (id.empty()) return place.bad("a tool call has an empty id");
        if (!ids.insert(std::move(id)).second) return place.bad("two tool calls have the same id");
    }
    return ids;
}

}  // namespace

Status checkTurns(const json::Array& messages, const Place& place) {
    if (messages.empty()) return place.bad("at least one message is required");
    std::set<std::string> due;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        if (json::getString(messages[i], "role") == "tool") {
            if (due.erase(std::string(json::getString(messages[i], "tool_call_id"))) == 0)
                return place.bad(
                    "a tool's result must follow the assistant's message that called it, once");
            continue;
        }
        if (!due.empty()) break;
        AEGIS_TRY(due, idsOf(messages[i], place));
    }
    if (!due.empty())
        return place.bad(fmt::format("the tool call {} has no result",
                                     json::quote(text::headUtf8(*due.begin(), 100))));
    if (json::getString(messages.back(), "role") == "assistant")
        return place.unsupported(
            "an answer that goes on from the assistant's last message is not supported here");
    return {};
}

Status ToolList::add(std::string_view name, std::string_view description,
                     const json::Value* parameters, bool strict, const Place& place) {
    if (!names_.emplace(name).second) return place.bad("tool names must be unique");
    json::Object tool{{"name", boost::json::string(name.data(), name.size())},
                      {"description", boost::json::string(description.data(), description.size())}};
    tool["parameters"] = parameters == nullptr ? json::Value(json::Object{}) : *parameters;
    if (strict) tool["strict"] = true;
    tools_.push_back(std::move(tool));
    return {};
}

std::string_view nameOf(Format format) {
    return format == Format::kOpenAi ? "openai" : "anthropic";
}

namespace {

/// No fewer than the body has, before any is made: each takes far more memory than the two bytes
/// that may be all of it in a body.
std::size_t valuesIn(std::string_view body) {
    std::size_t count = 1;
    bool in_string = false;
    for (std::size_t i = 0; i < body.size(); ++i) {
        char c = body[i];
        if (in_string && c == '\\')
            ++i;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == ',' || c == '[' || c == '{'))
            ++count;
    }
    return count;
}

}  // namespace

Result<Request> parseRequest(Format format, std::string_view body) {
    if (body.size() > kMaxBodyBytes)
        return Error(ErrorCode::kTooLarge,
                     fmt::format("the body is larger than {} bytes", kMaxBodyBytes));
    if (valuesIn(body) > kMaxValues)
        return Error(ErrorCode::kTooLarge,
                     fmt::format("the body has more than {} values", kMaxValues));
    AEGIS_TRY(const json::Value value, json::parse(body));
    if (!value.is_object()) return Error(ErrorCode::kInvalid, "the body is no JSON object");
    AEGIS_TRY(auto fields, Fields::of(value, Place(format)));
    return format == Format::kOpenAi ? parseOpenAi(fields) : parseAnthropic(fields);
}

}  // namespace aegis::proto::chat
