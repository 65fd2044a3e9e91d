// The web page's files. No data in them: they are served without a token.

#include <fmt/format.h>

#include "api/answer.h"
#include "api/api_routes.h"
#include "console/console.h"

namespace aegis::api {
namespace {

/// If-None-Match (RFC 9110 13.1.2): "*" or a list of tags, compared weakly.
bool matchesTag(std::string_view given, std::string_view etag) {
    if (given == "*") return true;
    while (!given.empty()) {
        auto end = std::min(given.find(','), given.size());
        auto tag = given.substr(0, end);
        given.remove_prefix(std::min(end + 1, given.size()));
        while (tag.starts_with(' '))
            tag.remove_prefix(1);
        while (tag.ends_with(' '))
            tag.remove_suffix(1);
        if (tag.starts_with("W/")) tag.remove_prefix(2);
        if (tag == etag) return true;
    }
    return false;
}

}  // namespace

bool ApiRoutes::isPage(std::string_view path) {
    return path == "/" || path.starts_with("/console/");
}

void ApiRoutes::page(Call& call) {
    auto name = call.captured.empty() ? std::string_view{} : call.captured[0];
    const auto* file = console::find(name);
    if (file == nullptr) {
        auto path = json::toUtf8(call.request.path);
        sendError(call.writer, {ErrorCode::kNotFound, fmt::format("no such path: {}", path)});
        return;
    }
    // Asked for again each time: after an upgrade page and daemon are of one version at once.
    wire::Headers headers{
        {"ETag", file->etag},
        {"Cache-Control", "no-cache"},
        {"Content-Security-Policy", std::string(console::contentSecurityPolicy())},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"}};
    if (matchesTag(call.request.headers.get("If-None-Match"), file->etag)) {
        (void)call.writer.send(304, std::move(headers), "");
        return;
    }
    headers.add("Content-Type", std::string(file->media));
    (void)call.writer.send(200, std::move(headers), file->bytes);
}

}  // namespace aegis::api
