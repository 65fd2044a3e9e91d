#include "client/http_service.h"

#include <fmt/format.h>

#include <algorithm>

#include "os/clock.h"
#include "wire/sse.h"
#include "wire/target.h"

namespace aegis::client {
namespace {

using service::Principal;

constexpr std::int64_t kTimeoutMs = 60'000;
constexpr std::int64_t kCancelTimeoutMs = 90'000;
/// Four heartbeats of the daemon's: a stream that is silent so long has no daemon any more.
constexpr std::int64_t kSilenceMs = 60'000;
constexpr std::int64_t kFirstPauseMs = 50;
constexpr std::int64_t kReplayTimeoutMs = 600'000;  // 100,000 events, each with its texts
constexpr std::uint64_t kMaxAnswerBytes = 256U << 20U;
constexpr std::size_t kMaxEventBytes = 1U << 20U;

std::string encode(std::string_view text) { return wire::percentEncode(text); }

/// Builds "?a=b&c=d" out of what is set.
class QueryText {
  public:
    QueryText& add(std::string_view name, std::string_view value) {
        if (!value.empty())
            text_ += fmt::format("{}{}={}", text_.empty() ? '?' : '&', name, encode(value));
        return *this;
    }
    QueryText& labels(const std::map<std::string, std::string>& labels) {
        for (const auto& [key, value] : labels)
            add("label", fmt::format("{}={}", key, value));
        return *this;
    }
    const std::string& str() const { return text_; }

  private:
    std::string text_;
};

/// The daemon's error, from its JSON body.
Error errorOf(const net::ClientResponse& response) {
    auto body = json::parse(response.body);
    const auto* error = body ? json::find(*body, "error") : nullptr;
    if (error == nullptr) {
        return {
            ErrorCode::kInternal,
            fmt::format("the daemon answered with status {} and no explanation", response.status)};
    }
    Error out(errorCodeFromName(json::getString(*error, "code")),
              std::string(json::getString(*error, "message")),
              std::string(json::getString(*error, "hint")));
    const auto* details = json::find(*error, "details");
    if (details == nullptr || !details->is_array()) return out;
    for (const auto& d : details->get_array()) {
        out.details.push_back(
            {std::string(json::getString(d, "path")), std::string(json::getString(d, "file")),
             static_cast<int>(json::getInt(d, "line")), static_cast<int>(json::getInt(d, "column")),
             std::string(json::getString(d, "message"))});
    }
    return out;
}

/// Such a reference would make a path that asks for the list.
Status checkReference(std::string_view target) {
    for (std::string_view base : {"/v1/agents/", "/v1/executions/", "/v1/volumes/"}) {
        if (!target.starts_with(base)) continue;
        target.remove_prefix(base.size());
        auto reference = target.substr(0, target.find_first_of("/?"));
        if (reference.empty() || reference == "." || reference == "..")
            return {ErrorCode::kInvalid, fmt::format("\"{}\" is no name and no id", reference)};
        break;
    }
    return {};
}

bool isTerminalType(std::string_view type) {
    return type == "ExecutionCompleted" || type == "ExecutionFailed" ||
           type == "ExecutionCancelled";
}

}  // namespace

Result<std::unique_ptr<HttpService>> HttpService::create(ClientOptions options, Clock& clock) {
    constexpr std::uint16_t kDefaultPort = 9090;
    auto endpoint = net::parseEndpoint(options.daemon_addr, kDefaultPort);
    if (!endpoint) return std::move(endpoint.error()).within("--daemon-addr");
    net::HttpConnection::Connector connector;
    if (endpoint->is_tls && options.secure) {
        AEGIS_TRY(connector, options.secure());
    }
    std::unique_ptr<HttpService> service(new HttpService(std::move(*endpoint), std::move(connector),
                                                         std::move(options.token), clock));
    service->trace_ = std::move(options.trace);
    return service;
}

HttpService::HttpService(net::Endpoint endpoint, net::HttpConnection::Connector connector,
                         Secret token, Clock& clock)
    : endpoint_(endpoint),
      connector_(connector),
      token_(std::move(token)),
      clock_(clock),
      connection_(std::move(endpoint), std::move(connector)) {}

net::ClientRequest HttpService::make(std::string method, std::string target,
                                     std::string body) const {
    net::ClientRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    if (!request.body.empty()) request.headers.set("Content-Type", "application/json");
    if (!token_.empty()) request.headers.set("Authorization", "Bearer " + token_.reveal());
    return request;
}

Error HttpService::explain(Error error) const {
    // A daemon that dies in the middle of an answer is as far away as one that is not there.
    if (error.code == ErrorCode::kIo)
        return {ErrorCode::kUnreachable,
                fmt::format("the connection to the daemon at {} broke ({})", endpoint_.str(),
                            error.message),
                "see whether it is there: aegis daemon status"};
    if (error.code != ErrorCode::kUnreachable) return error;
    return {ErrorCode::kUnreachable,
            fmt::format("the daemon at {} cannot be reached ({})", endpoint_.str(), error.message),
            error.hint.empty() ? "start it with: aegis daemon start --detach" : error.hint};
}

void HttpService::trace(const net::ClientRequest& request, BootTime begun,
                        const std::string& result) const {
    if (!trace_) return;
    auto ms = static_cast<double>(clock_.boot().ns - begun.ns) / 1e6;
    trace_(fmt::format("{} {} at {} -> {} ({:.1f} ms)", request.method, request.target,
                       endpoint_.str(), result, ms));
}

Result<json::Value> HttpService::call(const net::ClientRequest& request, std::int64_t timeout_ms) {
    AEGIS_CHECK(checkReference(request.target));
    auto begun = clock_.boot();
    auto response =
        connection_.request(request, Deadline::in(clock_.boot(), timeout_ms), kMaxAnswerBytes);
    trace(request, begun,
          response ? fmt::format("{}, {} bytes", response->status, response->body.size())
                   : response.error().message);
    if (!response) return explain(std::move(response.error()));
    met_ = true;
    if (response->status >= 400) return errorOf(*response);
    if (response->body.empty()) return json::Value(nullptr);
    auto value = json::parse(response->body);
    if (!value) return std::move(value.error()).within("the daemon's answer");
    return value;
}

Result<json::Value> HttpService::get(std::string target) {
    return call(make("GET", std::move(target)), kTimeoutMs);
}

Result<json::Value> HttpService::getPatiently(const std::string& target, std::int64_t patience_ms) {
    auto give_up = Deadline::in(clock_.boot(), patience_ms);
    while (true) {
        auto answer = get(target);
        bool away = !answer && (answer.error().code == ErrorCode::kUnreachable ||
                                answer.error().code == ErrorCode::kUnavailable);
        if (!away || !met_ || give_up.passed(clock_.boot())) return answer;
        os::pauseMs(kFirstPauseMs);
    }
}

Result<json::Value> HttpService::post(std::string target, const json::Value& body,
                                      std::int64_t timeout_ms) {
    return call(make("POST", std::move(target), json::dump(body)), timeout_ms);
}

Status HttpService::remove(std::string target) {
    AEGIS_TRY([[maybe_unused]] auto answer, call(make("DELETE", std::move(target)), kTimeoutMs));
    return {};
}

Result<json::Value> HttpService::deploy(const Principal&,
                                        const std::vector<service::ManifestFile>& files,
                                        bool validate_only) {
    json::Array list;
    for (const auto& file : files) {
        if (!json::isUtf8(file.text))
            return Error(ErrorCode::kInvalid, fmt::format("{}: is not UTF-8 text", file.name));
        list.push_back(json::Object{{"name", file.name}, {"text", file.text}});
    }
    return post(validate_only ? "/v1/agents?validate_only=true" : "/v1/agents",
                json::Object{{"files", std::move(list)}});
}

Result<json::Value> HttpService::listAgents(const Principal&, const service::ListAgents& query) {
    QueryText text;
    text.add("status", query.status).add("all", query.all ? "true" : "").labels(query.labels);
    text.add("limit", query.limit > 0 ? std::to_string(query.limit) : "");
    text.add("cursor", query.cursor);
    return get("/v1/agents" + text.str());
}

Result<json::Value> HttpService::getAgent(const Principal&, const std::string& agent,
                                          int revision) {
    QueryText text;
    text.add("revision", revision > 0 ? std::to_string(revision) : "");
    return get("/v1/agents/" + encode(agent) + text.str());
}

Result<json::Value> HttpService::agentVersions(const Principal&, const std::string& agent) {
    return get("/v1/agents/" + encode(agent) + "/versions");
}
Result<json::Value> HttpService::pauseAgent(const Principal&, const std::string& agent) {
    return call(make("POST", "/v1/agents/" + encode(agent) + "/pause"), kTimeoutMs);
}
Result<json::Value> HttpService::resumeAgent(const Principal&, const std::string& agent) {
    return call(make("POST", "/v1/agents/" + encode(agent) + "/resume"), kTimeoutMs);
}
Result<json::Value> HttpService::deleteAgent(const Principal&, const std::string& agent) {
    return call(make("DELETE", "/v1/agents/" + encode(agent)), kTimeoutMs);
}

Result<json::Value> HttpService::execute(const Principal&, const service::ExecuteRequest& request) {
    json::Object body{{"agent_id", request.agent}};
    if (request.input) body["input"] = *request.input;
    if (request.max_iterations) body["max_iterations"] = *request.max_iterations;
    if (!request.model.empty()) body["model"] = request.model;
    if (!request.idempotency_key.empty()) body["idempotency_key"] = request.idempotency_key;
    if (request.timeout_ms) body["timeout"] = fmt::format("{}ms", *request.timeout_ms);
    json::Object budget;
    if (request.budget.usd) budget["usd"] = *request.budget.usd;
    if (request.budget.tokens) budget["tokens"] = *request.budget.tokens;
    if (request.budget.llm_calls) budget["llm_calls"] = *request.budget.llm_calls;
    if (request.budget.tool_calls) budget["tool_calls"] = *request.budget.tool_calls;
    if (!budget.empty()) body["budget"] = std::move(budget);
    json::Object labels;
    for (const auto& [key, value] : request.labels)
        labels[key] = value;
    if (!labels.empty()) body["labels"] = std::move(labels);
    return post("/v1/executions", body);
}

Result<json::Value> HttpService::listExecutions(const Principal&,
                                                const service::ListExecutions& query) {
    QueryText text;
    text.add("agent_id", query.agent).add("status", query.status).labels(query.labels);
    text.add("since", query.since ? query.since->rfc3339() : "");
    text.add("limit", std::to_string(query.limit)).add("cursor", query.cursor);
    return get("/v1/executions" + text.str());
}

Result<json::Value> HttpService::getExecution(const Principal&, const std::string& execution) {
    return get("/v1/executions/" + encode(execution));
}

Result<json::Value> HttpService::executionLogs(const Principal&, const std::string& execution,
                                               int iteration) {
    QueryText text;
    text.add("iteration", iteration > 0 ? std::to_string(iteration) : "");
    return get("/v1/executions/" + encode(execution) + "/logs" + text.str());
}

Result<json::Value> HttpService::cancelExecution(const Principal&, const std::string& execution) {
    return call(make("POST", "/v1/executions/" + encode(execution) + "/cancel"), kCancelTimeoutMs);
}

Status HttpService::removeExecution(const Principal&, const std::string& execution) {
    return remove("/v1/executions/" + encode(execution));
}

Result<json::Value> HttpService::executionEvents(const Principal&, const std::string& execution,
                                                 std::uint64_t after, int limit) {
    return get(
        fmt::format("/v1/executions/{}/events?after={}&limit={}", encode(execution), after, limit));
}

Result<HttpService::StreamEnd> HttpService::stream(const std::string& target, const Take& take,
                                                   bool& joined) {
    auto request = make("GET", target);
    request.idle_ms = kSilenceMs;
    request.headers.set("Accept", "text/event-stream");
    auto end = StreamEnd::kLost;
    int status = 0;
    std::string error_body;
    Error bad;
    wire::SseReader reader(kMaxEventBytes);
    auto on_event = [&](const wire::SseEvent& sse) {
        if (end != StreamEnd::kLost) return;
        auto event = json::parse(sse.data);
        if (event) {
            end = take(*event);
        } else {
            bad = std::move(event.error()).within("the daemon's event");
            end = StreamEnd::kStopped;
        }
    };
    // The connection of its own: this one is left in the middle of an answer when the watch ends.
    net::HttpConnection connection(endpoint_, connector_);
    auto begun = clock_.boot();
    auto response = connection.stream(
        request, Deadline::never(),
        [&](const wire::ResponseHead& head) {
            status = head.status;
            joined = status < 400;
            trace(request, begun, fmt::format("{}, a stream", status));
            return true;
        },
        [&](std::string_view chunk) {
            if (status >= 400) {
                error_body += chunk;
                return error_body.size() < kMaxEventBytes;
            }
            if (auto fed = reader.feed(chunk, on_event); !fed) {
                bad = fed.error();
                end = StreamEnd::kStopped;
            }
            return end == StreamEnd::kLost;
        });
    if (!bad.message.empty()) return bad;
    if (status >= 400) {
        net::ClientResponse refused;
        refused.status = status;
        refused.body = error_body;
        return errorOf(refused);
    }
    if (!response) trace(request, begun, response.error().message);
    if (!response && response.error().code == ErrorCode::kCancelled) return response.error();
    return end;
}

Status HttpService::follow(const std::function<std::string()>& target, const Take& take,
                           std::int64_t patience_ms, const std::string& hint) {
    constexpr std::int64_t kLongestPauseMs = 2000;
    auto give_up = Deadline::in(clock_.boot(), patience_ms);
    auto pause_ms = kFirstPauseMs;
    while (true) {
        bool joined = false;
        auto end = stream(target(), take, joined);
        bool retry = end ? *end == StreamEnd::kLost : end.error().code == ErrorCode::kUnavailable;
        if (!end && !retry) return explain(end.error());
        if (!retry) return {};
        // A stream may be silent for longer than anybody's patience, and be lost then.
        if (joined) {
            give_up = Deadline::in(clock_.boot(), patience_ms);
            pause_ms = kFirstPauseMs;
        }
        if (give_up.passed(clock_.boot())) {
            return {ErrorCode::kUnreachable,
                    fmt::format("the daemon at {} cannot be reached any more", endpoint_.str()),
                    hint};
        }
        os::pauseMs(pause_ms);
        pause_ms = std::min(pause_ms * 2, kLongestPauseMs);
    }
}

Status HttpService::watchExecution(const Principal&, const std::string& execution,
                                   std::uint64_t after, std::int64_t patience_ms,
                                   const service::EventCallback& callback) {
    // The reference is resolved once: "@last" must not become another execution after a restart.
    auto record = getPatiently("/v1/executions/" + encode(execution), patience_ms);
    if (!record) return record.error();
    std::string id(json::getString(*record, "id"));
    auto target = [&] {
        return fmt::format("/v1/executions/{}/stream?after={}", encode(id), after);
    };
    auto take = [&](const json::Value& event) {
        auto seq = static_cast<std::uint64_t>(json::getInt(event, "seq"));
        if (seq <= after) return StreamEnd::kLost;
        after = seq;
        if (!callback(event)) return StreamEnd::kStopped;
        return isTerminalType(json::getString(event, "type")) ? StreamEnd::kTerminal
                                                              : StreamEnd::kLost;
    };
    return follow(target, take, patience_ms,
                  fmt::format("watch again with: aegis execution watch {}", id));
}

std::string HttpService::nodeEventsTarget(const service::NodeEventQuery& query) const {
    QueryText text;
    text.add("after", query.after).add("agent_id", query.agent);
    text.add("since", query.since ? query.since->rfc3339() : "");
    for (const auto& type : query.types)
        text.add("type", type);
    text.add("limit", std::to_string(query.limit));
    return "/v1/events" + text.str();
}

Result<json::Value> HttpService::nodeEvents(const Principal&,
                                            const service::NodeEventQuery& query) {
    return get(nodeEventsTarget(query));
}

Status HttpService::watchNodeEvents(const Principal&, const service::NodeEventQuery& query,
                                    std::int64_t patience_ms,
                                    const service::EventCallback& callback) {
    // Asked for once: that a daemon which was never there is waited for helps nobody.
    auto from = query;
    AEGIS_TRY([[maybe_unused]] auto page, getPatiently(nodeEventsTarget(query), patience_ms));
    auto take = [&](const json::Value& event) {
        from.after = json::getString(event, "cursor");
        return callback(event) ? StreamEnd::kLost : StreamEnd::kStopped;
    };
    return follow([&] { return nodeEventsTarget(from); }, take, patience_ms,
                  "follow again with: aegis events --follow");
}

Result<json::Value> HttpService::listVolumes(const Principal&) { return get("/v1/volumes"); }
Result<json::Value> HttpService::getVolume(const Principal&, const std::string& volume) {
    return get("/v1/volumes/" + encode(volume));
}
Status HttpService::deleteVolume(const Principal&, const std::string& volume) {
    return remove("/v1/volumes/" + encode(volume));
}

Status HttpService::download(const std::string& target, const service::DownloadSink& sink) {
    AEGIS_CHECK(checkReference(target));
    auto begun = clock_.boot();
    auto request = make("GET", target);
    // A connection of its own: it is left in the middle when nobody takes the rest.
    net::HttpConnection connection(endpoint_, connector_);
    int status = 0;
    bool wanted = true;
    std::string error_body;
    auto response = connection.stream(
        request, Deadline::never(),
        [&](const wire::ResponseHead& head) {
            status = head.status;
            if (status >= 400) return true;
            service::DownloadHead about;
            constexpr std::string_view kName = "filename=\"";
            auto disposition = head.headers.get("Content-Disposition");
            if (auto at = disposition.find(kName); at != std::string_view::npos) {
                auto name = disposition.substr(at + kName.size());
                about.name = name.substr(0, name.find('"'));
            }
            wanted = sink.begin(about);
            return wanted;
        },
        [&](std::string_view chunk) {
            if (status < 400) return wanted = sink.piece(chunk);
            error_body += chunk;
            return error_body.size() < kMaxEventBytes;
        });
    trace(request, begun, response ? std::to_string(status) : response.error().message);
    if (!wanted) return {ErrorCode::kCancelled, "nobody takes it any more"};
    if (status >= 400) {
        net::ClientResponse refused;
        refused.status = status;
        refused.body = std::move(error_body);
        return errorOf(refused);
    }
    if (!response) return explain(std::move(response.error()));
    return {};
}

Status HttpService::exportExecution(const Principal&, const std::string& execution,
                                    const service::DownloadSink& sink) {
    return download("/v1/executions/" + encode(execution) + "/export", sink);
}
Result<json::Value> HttpService::replayExecution(const Principal&, const std::string& execution) {
    return call(make("GET", "/v1/executions/" + encode(execution) + "/replay"), kReplayTimeoutMs);
}
Result<json::Value> HttpService::volumeFiles(const Principal&, const std::string& volume,
                                             const std::string& path, const std::string& after) {
    auto query = QueryText().add("stat", "true").add("after", after).str();
    return get(fmt::format("/v1/volumes/{}/files/{}{}", encode(volume),
                           wire::percentEncode(path, true), query));
}
Status HttpService::readVolumeFile(const Principal&, const std::string& volume,
                                   const std::string& path, const service::DownloadSink& sink) {
    return download(fmt::format("/v1/volumes/{}/files/{}", encode(volume),
                                wire::percentEncode(path, true)),
                    sink);
}

Result<json::Value> HttpService::nodeStatus(const Principal&) { return get("/v1/node"); }

}  // namespace aegis::client
