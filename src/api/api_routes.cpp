#include "api/api_routes.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/answer.h"

namespace aegis::api {
namespace {

constexpr std::uint64_t kMaxBodyBytes = 16U << 20U;

/// Whether `path` fits `pattern`; what "{}" stands for is captured.
bool matches(std::string_view pattern, std::string_view path, std::vector<std::string>& captured) {
    captured.clear();
    while (!pattern.empty() && !path.empty()) {
        auto next = [](std::string_view& text) {
            text.remove_prefix(1);
            auto end = std::min(text.find('/'), text.size());
            auto segment = text.substr(0, end);
            text.remove_prefix(end);
            return segment;
        };
        auto want = next(pattern);
        auto have = next(path);
        if (want == "{}" && !have.empty())
            captured.emplace_back(have);
        else if (want != have)
            return false;
    }
    return pattern.empty() && path.empty();
}

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

std::uint64_t ApiRoutes::bodyLimit(std::string_view, std::string_view) { return kMaxBodyBytes; }

bool ApiRoutes::isReserved(std::string_view method, std::string_view path) {
    return path.starts_with("/health/") || (method == "POST" && path.ends_with("/cancel"));
}

const std::vector<ApiRoutes::Route>& ApiRoutes::routes() {
    using R = ApiRoutes;
    static const std::vector<Route> kRoutes{
        {"POST", "/v1/agents", &R::deploy},
        {"GET", "/v1/agents", &R::listAgents},
        {"GET", "/v1/agents/lookup/{}", &R::getAgent},
        {"GET", "/v1/agents/{}", &R::getAgent},
        {"DELETE", "/v1/agents/{}", &R::deleteAgent},
        {"GET", "/v1/agents/{}/versions", &R::agentVersions},
        {"POST", "/v1/agents/{}/pause", &R::pauseAgent},
        {"POST", "/v1/agents/{}/resume", &R::resumeAgent},
        {"POST", "/v1/agents/{}/execute", &R::executeAgent},
        {"POST", "/v1/executions", &R::createExecution},
        {"GET", "/v1/executions", &R::listExecutions},
        {"GET", "/v1/executions/{}", &R::getExecution},
        {"DELETE", "/v1/executions/{}", &R::deleteExecution},
        {"GET", "/v1/executions/{}/logs", &R::executionLogs},
        {"POST", "/v1/executions/{}/cancel", &R::cancelExecution},
        {"GET", "/v1/executions/{}/events", &R::executionEvents},
        {"GET", "/v1/executions/{}/stream", &R::streamExecution},
        {"GET", "/v1/events", &R::nodeEvents},
        {"GET", "/v1/volumes", &R::listVolumes},
        {"GET", "/v1/volumes/{}", &R::getVolume},
        {"DELETE", "/v1/volumes/{}", &R::deleteVolume},
        {"GET", "/v1/node", &R::node},
        {"GET", "/version", &R::version},
        {"GET", "/health/live", &R::live},
        {"GET", "/health/ready", &R::ready},
    };
    return kRoutes;
}

bool ApiRoutes::mayAsk(const net::Request& request, net::ResponseWriter& writer) const {
    auto refuse = [&](ErrorCode code, std::string message) {
        sendError(writer, {code, std::move(message)});
        return false;
    };
    auto host = request.headers.get("Host");
    bool tcp = request.peer.kind == net::PeerKind::kTcp;
    if (tcp && options_.loopback && !isLoopbackName(hostOf(host)))
        return refuse(ErrorCode::kPermissionDenied, "this Host is not served here");
    if (const auto* origin = request.headers.find("Origin")) {
        bool own = *origin == fmt::format("http://{}", host) ||
                   *origin == fmt::format("https://{}", host);
        if (!own)
            return refuse(ErrorCode::kPermissionDenied, "requests of other origins are refused");
    }
    if (options_.token.empty() || request.path.starts_with("/health/")) return true;
    constexpr std::string_view kScheme = "Bearer ";
    auto given = request.headers.get("Authorization");
    bool bearer = given.size() > kScheme.size() &&
                  wire::equalsNoCase(given.substr(0, kScheme.size()), kScheme);
    if (bearer && options_.token.equals(given.substr(kScheme.size()))) return true;
    return refuse(ErrorCode::kUnauthenticated, "a valid bearer token is required");
}

void ApiRoutes::handle(const net::Request& request, net::ResponseWriter& writer) {
    if (!mayAsk(request, writer)) return;
    Call call{request, writer, {}, {}};
    std::string allowed;
    auto method = request.head() ? std::string_view("GET") : std::string_view(request.method);
    for (const auto& route : routes()) {
        if (!matches(route.pattern, request.path, call.captured)) continue;
        if (route.method == method) {
            (this->*route.function)(call);
            return;
        }
        allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
    }
    if (allowed.empty()) {
        sendError(writer, {ErrorCode::kNotFound, fmt::format("no such path: {}", request.path)});
        return;
    }
    auto body = json::dump(errorBody({ErrorCode::kInvalid, "method not allowed"})) + "\n";
    (void)writer.send(405, {{"Allow", allowed}, {"Content-Type", "application/json"}}, body);
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
    auto status = service_.nodeStatus(call.who);
    if (!status) {
        sendError(call.writer, status.error());
        return;
    }
    sendJson(call.writer, 200, json::Object{{"version", json::getString(*status, "version")}});
}

void ApiRoutes::live(Call& call) { sendJson(call.writer, 200, json::Object{{"status", "live"}}); }

void ApiRoutes::ready(Call& call) {
    bool ready = ready_;
    sendJson(call.writer, ready ? 200 : 503,
             json::Object{{"status", ready ? "ready" : "starting"}});
}

}  // namespace aegis::api
