#include "api/api_routes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "api/answer.h"

namespace aegis::api {
namespace {

constexpr std::uint64_t kMaxBodyBytes = 16U << 20U;
/// A request without a body of its own may still carry one: "{}" of a client that always sends it.
constexpr std::uint64_t kMaxIdleBodyBytes = 64U << 10U;
constexpr std::size_t kMaxStreams = 4096;
constexpr std::string_view kApiVersion = "v1";

/// The host part of "host", "host:port", "[v6]:port".
std::string_view hostOf(std::string_view authority) {
    if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
    return authority.substr(0, authority.find(':'));
}

bool isLoopbackName(std::string_view host) {
    return wire::equalsNoCase(host, "localhost") || host == "[::1]" ||
           (host.starts_with("127.") &&
            host.find_first_not_of("0123456789.") == std::string_view::npos);
}

}  // namespace

ApiRoutes::ApiRoutes(service::LocalService& service, net::StreamHub& streams,
                     ports::Journal& journal, ApiOptions options)
    : service_(service), streams_(streams), journal_(journal), options_(std::move(options)) {}

std::uint64_t ApiRoutes::bodyLimit(std::string_view method, std::string_view path) {
    std::vector<std::string> captured;
    for (const auto& route : routes()) {
        if (!route.body.empty() && route.method == method && matches(route.path, path, captured))
            return kMaxBodyBytes;
    }
    return kMaxIdleBodyBytes;
}

bool ApiRoutes::isReserved(std::string_view method, std::string_view path) {
    return path.starts_with("/health/") || (method == "POST" && path.ends_with("/cancel"));
}

Result<service::Principal> ApiRoutes::principalOf(const net::Request& request) const {
    auto host = request.headers.get("Host");
    bool tcp = request.peer.kind == net::PeerKind::kTcp;
    if (tcp && options_.loopback && !isLoopbackName(hostOf(host)))
        return {ErrorCode::kPermissionDenied, "this Host is not served here"};
    if (const auto* origin = request.headers.find("Origin")) {
        bool own = *origin == fmt::format("http://{}", host) ||
                   *origin == fmt::format("https://{}", host);
        if (!own) return {ErrorCode::kPermissionDenied, "requests of other origins are refused"};
    }
    // What a foreign page loads as an image or a script has no Origin, but browsers say this.
    auto site = request.headers.get("Sec-Fetch-Site");
    bool foreign = site == "cross-site" || site == "same-site";
    if (foreign && request.headers.get("Sec-Fetch-Mode") != "navigate" && !isPage(request.path))
        return {ErrorCode::kPermissionDenied, "requests of other sites' pages are refused"};
    service::Principal who;
    if (!tcp) who.name = fmt::format("uid:{}", request.peer.cred.uid);
    bool open = request.path.starts_with("/health/") || isPage(request.path);
    if (options_.token.empty() || open) return who;
    constexpr std::string_view kScheme = "Bearer ";
    auto given = request.headers.get("Authorization");
    bool bearer = given.size() > kScheme.size() &&
                  wire::equalsNoCase(given.substr(0, kScheme.size()), kScheme);
    if (!bearer || !options_.token.equals(given.substr(kScheme.size())))
        return {ErrorCode::kUnauthenticated, "a valid bearer token is required",
                "aegis --token, or $AEGIS_TOKEN"};
    if (tcp) who.name = "token";
    return who;
}

void ApiRoutes::handle(const net::Request& request, net::ResponseWriter& writer) {
    auto who = principalOf(request);
    if (!who) {
        writer.describe("", "nobody");
        sendError(writer, who.error());
        return;
    }
    writer.describe("", who->name);
    Call call{request, writer, {}, std::move(*who)};
    route(request, writer, call);
}

void ApiRoutes::route(const net::Request& request, net::ResponseWriter& writer, Call& call) {
    std::vector<std::string_view> allowed;
    auto method = request.head() ? std::string_view("GET") : std::string_view(request.method);
    bool all = request.path == "*" && method == "OPTIONS";
    for (const auto& route : routes()) {
        if (!all && !matches(route.path, request.path, call.captured)) continue;
        if (route.method == method) {
            writer.describe(std::string(route.path), call.who.name);
            if (auto fine = checkQuery(route, request.query); !fine)
                sendError(writer, fine.error());
            else
                (this->*route.function)(call);
            return;
        }
        for (auto name : {route.method, std::string_view(route.method == "GET" ? "HEAD" : "")})
            if (!name.empty() && std::ranges::find(allowed, name) == allowed.end())
                allowed.push_back(name);
    }
    if (allowed.empty()) {
        sendError(writer, {ErrorCode::kNotFound,
                           fmt::format("no such path: {}", json::toUtf8(request.path))});
        return;
    }
    auto list = fmt::format("{}, OPTIONS", fmt::join(allowed, ", "));
    if (method == "OPTIONS") {
        (void)writer.send(204, {{"Allow", list}}, "");
        return;
    }
    auto body = json::dump(errorBody({ErrorCode::kInvalid, "method not allowed",
                                      "allowed: " + list})) + "\n";
    (void)writer.send(405, {{"Allow", list}, {"Content-Type", "application/json"}}, body);
}

bool ApiRoutes::mayStream(net::ResponseWriter& writer) const {
    if (streams_.size() < kMaxStreams) return true;
    sendError(writer, {ErrorCode::kTooMany,
                       fmt::format("there are {} event streams already", kMaxStreams)});
    return false;
}

void ApiRoutes::listVolumes(Call& call) { sendResult(call.writer, service_.listVolumes(call.who)); }

void ApiRoutes::getVolume(Call& call) {
    sendResult(call.writer, service_.getVolume(call.who, call.captured[0]));
}

void ApiRoutes::deleteVolume(Call& call) {
    if (auto done = service_.deleteVolume(call.who, call.captured[0]); !done)
        sendError(call.writer, done.error());
    else
        (void)call.writer.send(204, {}, "");
}

void ApiRoutes::node(Call& call) { sendResult(call.writer, service_.nodeStatus(call.who)); }

void ApiRoutes::version(Call& call) {
    sendJson(call.writer, 200,
             json::Object{{"version", options_.version}, {"api_version", kApiVersion}});
}

void ApiRoutes::live(Call& call) { sendJson(call.writer, 200, json::Object{{"status", "live"}}); }

void ApiRoutes::ready(Call& call) {
    bool ready = true;
    json::Array checks;
    for (auto& check : options_.checks()) {
        bool ok = check.problem.empty();
        ready = ready && ok;
        checks.push_back(json::Object{
            {"name", check.name}, {"ok", ok}, {"message", std::move(check.problem)}});
    }
    sendJson(call.writer, ready ? 200 : 503,
             json::Object{{"status", ready ? "ready" : "not_ready"},
                          {"checks", std::move(checks)}});
}

void ApiRoutes::metrics(Call& call) {
    (void)call.writer.send(200, {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}},
                           options_.metrics());
}

void ApiRoutes::openApi(Call& call) {
    sendJson(call.writer, 200, openApiDocument(operations(), options_.version));
}

}  // namespace aegis::api
