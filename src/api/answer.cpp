#include "api/answer.h"

#include <fmt/format.h>

#include <charconv>

namespace aegis::api {

json::Object errorBody(const Error& error) {
    json::Array details;
    for (const auto& d : error.details) {
        json::Object detail{{"path", d.path}};
        if (!d.file.empty()) detail["file"] = d.file;
        detail["line"] = d.line;
        detail["column"] = d.column;
        detail["message"] = d.message;
        details.push_back(std::move(detail));
    }
    json::Object body{{"code", errorTraits(error.code).name}, {"message", error.message}};
    if (!error.hint.empty()) body["hint"] = error.hint;
    body["details"] = std::move(details);
    return {{"error", std::move(body)}};
}

void sendJson(net::ResponseWriter& writer, int status, const json::Value& value) {
    (void)writer.sendJson(status, json::dump(value) + "\n");
}

void sendError(net::ResponseWriter& writer, const Error& error) {
    if (writer.begun()) return;
    int status = errorTraits(error.code).http_status;
    auto text = json::dump(errorBody(error)) + "\n";
    wire::Headers headers{{"Content-Type", "application/json"}};
    if (error.code == ErrorCode::kUnauthenticated) headers.add("WWW-Authenticate", "Bearer");
    if (error.code == ErrorCode::kTooMany || error.code == ErrorCode::kUnavailable)
        headers.add("Retry-After", "1");
    (void)writer.send(status, std::move(headers), text);
}

void sendResult(net::ResponseWriter& writer, const Result<json::Value>& result, int status) {
    if (result)
        sendJson(writer, status, *result);
    else
        sendError(writer, result.error());
}

Result<std::int64_t> intParameter(const net::Request& request, std::string_view name,
                                  std::int64_t fallback, std::int64_t least, std::int64_t most) {
    const auto* text = request.query.find(name);
    if (text == nullptr) return fallback;
    std::int64_t number = 0;
    auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (ec != std::errc{} || end != text->data() + text->size() || number < least || number > most)
        return {ErrorCode::kInvalid,
                fmt::format("{} must be an integer from {} to {}", name, least, most)};
    return number;
}

Result<std::map<std::string, std::string>> labelParameters(const net::Request& request) {
    std::map<std::string, std::string> out;
    for (const auto& [name, value] : request.query) {
        if (name != "label") continue;
        auto equals = value.find('=');
        if (equals == std::string::npos || equals == 0)
            return {ErrorCode::kInvalid, fmt::format("label \"{}\" is not of the form k=v", value)};
        out[value.substr(0, equals)] = value.substr(equals + 1);
    }
    return out;
}

}  // namespace aegis::api
