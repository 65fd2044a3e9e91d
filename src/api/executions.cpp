// Paths of executions and their events.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/answer.h"
#include "api/api_routes.h"
#include "text/edit_distance.h"

namespace aegis::api {
namespace {

constexpr int kMaxPage = 1000;

/// A field that is nearly one of ours is a slip that would be ignored; others are a newer client's.
Status checkFields(const json::Value& body) {
    static const std::vector<std::string> kFields{"agent_id", "agent",   "input",
                                                  "model",    "labels",  "max_iterations",
                                                  "budget",   "timeout", "idempotency_key"};
    for (const auto& member : body.get_object()) {
        std::string name(member.key());
        if (std::ranges::find(kFields, name) != kFields.end()) continue;
        auto near = text::closest(name, kFields, 2);
        if (!near) continue;
        Error error(ErrorCode::kInvalid, fmt::format("unknown field \"{}\"", name),
                    fmt::format("did you mean \"{}\"?", *near));
        error.details.push_back({name, "", 0, 0, "unknown field"});
        return error;
    }
    return {};
}

/// {"usd","tokens","llm_calls","tool_calls"}, none of them required, none of them ignored.
Status readBudget(const json::Value& value, service::BudgetRequest& out) {
    constexpr std::string_view kExpected = "an object of usd, tokens, llm_calls, tool_calls";
    auto wrong = [](std::string_view field, std::string_view expected) {
        Error error(ErrorCode::kInvalid, fmt::format("{} must be {}", field, expected));
        error.details.push_back(
            {std::string(field), "", 0, 0, fmt::format("expected {}", expected)});
        return error;
    };
    if (!value.is_object()) return wrong("budget", kExpected);
    for (const auto& member : value.get_object()) {
        std::string_view key(member.key());
        const auto& limit = member.value();
        auto* whole = key == "tokens"       ? &out.tokens
                      : key == "llm_calls"  ? &out.llm_calls
                      : key == "tool_calls" ? &out.tool_calls
                                            : nullptr;
        auto name = fmt::format("budget.{}", key);
        if (limit.is_null()) continue;
        if (key == "usd") {
            if (!limit.is_number() || limit.to_number<double>() < 0)
                return wrong(name, "a number, at least 0");
            out.usd = limit.to_number<double>();
        } else if (whole == nullptr) {
            return wrong("budget", kExpected);
        } else if (!limit.is_int64() || limit.get_int64() < 0) {
            return wrong(name, "an integer, at least 0");
        } else {
            *whole = limit.get_int64();
        }
    }
    return {};
}

/// Fields of the request for an execution; a wrong type is an error that names the field.
Result<service::ExecuteRequest> requestOf(const json::Value& body, const net::Request& http) {
    service::ExecuteRequest out;
    if (!body.is_object()) return {ErrorCode::kInvalid, "the body must be a JSON object"};
    AEGIS_CHECK(checkFields(body));
    auto wrong = [](std::string_view field, std::string_view expected) {
        Error error(ErrorCode::kInvalid, fmt::format("{} must be {}", field, expected));
        error.details.push_back(
            {std::string(field), "", 0, 0, fmt::format("expected {}", expected)});
        return error;
    };
    if (const auto* input = json::find(body, "input"))
        out.input = input->is_string() ? std::string(json::view(input->get_string()))
                                       : json::dump(*input);
    if (const auto* n = json::find(body, "max_iterations"); n != nullptr && !n->is_null()) {
        if (!n->is_int64() || n->get_int64() < 1 || n->get_int64() > 1000)
            return wrong("max_iterations", "an integer from 1 to 100");
        out.max_iterations = static_cast<int>(n->get_int64());
    }
    for (auto [name, field] : {std::pair("model", &out.model),
                               std::pair("idempotency_key", &out.idempotency_key)}) {
        const auto* value = json::find(body, name);
        if (value == nullptr || value->is_null()) continue;
        if (!value->is_string()) return wrong(name, "a string");
        *field = std::string(json::view(value->get_string()));
    }
    if (const auto* key = http.headers.find("Idempotency-Key")) out.idempotency_key = *key;
    if (const auto* timeout = json::find(body, "timeout");
        timeout != nullptr && !timeout->is_null()) {
        if (timeout->is_string())
            out.timeout_ms = parseDurationMs(json::view(timeout->get_string()));
        if (!out.timeout_ms) return wrong("timeout", "a duration like \"30s\"");
    }
    if (const auto* labels = json::find(body, "labels"); labels != nullptr && !labels->is_null()) {
        if (!labels->is_object()) return wrong("labels", "an object of strings");
        for (const auto& [key, value] : labels->get_object()) {
            if (!value.is_string()) return wrong("labels", "an object of strings");
            out.labels[std::string(key)] = std::string(json::view(value.get_string()));
        }
    }
    if (const auto* budget = json::find(body, "budget"); budget != nullptr && !budget->is_null())
        AEGIS_CHECK(readBudget(*budget, out.budget));
    return out;
}

/// A watcher's stream: the watch feeds it, the hub ends it. Shared by the two.
struct Follower {
    std::mutex mutex;
    bool closed = false;
    net::StreamId stream = 0;
    std::shared_ptr<service::Watch> watch;
};

}  // namespace

void ApiRoutes::startExecution(Call& call, const json::Value& body, const std::string& agent) {
    auto request = requestOf(body, call.request);
    if (!request) {
        sendError(call.writer, request.error());
        return;
    }
    request->agent = agent;
    sendResult(call.writer, service_.execute(call.who, *request), 201);
}

void ApiRoutes::createExecution(Call& call) {
    auto body = json::parse(call.request.body);
    if (!body) {
        sendError(call.writer, body.error());
        return;
    }
    auto agent = json::getString(*body, "agent_id", json::getString(*body, "agent"));
    if (agent.empty()) {
        sendError(call.writer, {ErrorCode::kInvalid, "agent_id is required"});
        return;
    }
    startExecution(call, *body, std::string(agent));
}

void ApiRoutes::executeAgent(Call& call) {
    auto body = call.request.body.empty() ? Result<json::Value>(json::Value(json::Object{}))
                                          : json::parse(call.request.body);
    if (!body) {
        sendError(call.writer, body.error());
        return;
    }
    startExecution(call, *body, call.captured[0]);
}

void ApiRoutes::listExecutions(Call& call) {
    const auto& parameters = call.request.query;
    service::ListExecutions query;
    query.agent = parameters.get("agent_id", parameters.get("agent"));
    query.status = parameters.get("status");
    query.cursor = parameters.get("cursor");
    query.input_summary = parameters.get("input_summary") == "true";
    if (const auto* since = parameters.find("since")) {
        query.since = UtcTime::parse(*since);
        if (!query.since) {
            sendError(call.writer, {ErrorCode::kInvalid, "since must be an RFC 3339 UTC time"});
            return;
        }
    }
    auto labels = labelParameters(call.request);
    auto limit = intParameter(call.request, "limit", 50, 1, kMaxPage);
    if (!labels || !limit) {
        sendError(call.writer, labels ? limit.error() : labels.error());
        return;
    }
    query.labels = std::move(*labels);
    query.limit = static_cast<int>(*limit);
    sendResult(call.writer, service_.listExecutions(call.who, query));
}

void ApiRoutes::getExecution(Call& call) {
    sendResult(call.writer, service_.getExecution(call.who, call.captured[0]));
}

void ApiRoutes::executionLogs(Call& call) {
    auto iteration = intParameter(call.request, "iteration", 0, 0, 100'000);
    if (!iteration) {
        sendError(call.writer, iteration.error());
        return;
    }
    sendResult(call.writer, service_.executionLogs(call.who, call.captured[0],
                                                   static_cast<int>(*iteration)));
}

void ApiRoutes::deleteExecution(Call& call) {
    if (auto done = service_.removeExecution(call.who, call.captured[0]); !done)
        sendError(call.writer, done.error());
    else
        (void)call.writer.send(204, {}, "");
}

void ApiRoutes::cancelExecution(Call& call) {
    sendResult(call.writer, service_.cancelExecution(call.who, call.captured[0]));
}

void ApiRoutes::executionEvents(Call& call) {
    auto after = intParameter(call.request, "after", 0, 0, INT64_MAX);
    auto limit = intParameter(call.request, "limit", 100, 1, kMaxPage);
    if (!after || !limit) {
        sendError(call.writer, after ? limit.error() : after.error());
        return;
    }
    sendResult(call.writer,
               service_.executionEvents(call.who, call.captured[0],
                                        static_cast<std::uint64_t>(*after),
                                        static_cast<int>(*limit)));
}

void ApiRoutes::streamExecution(Call& call) {
    if (!mayStream(call.writer)) return;
    auto row = service_.resolveExecution(call.captured[0]);
    auto after = intParameter(call.request, "after", 0, 0, INT64_MAX);
    if (!row || !after) {
        sendError(call.writer, row ? after.error() : row.error());
        return;
    }
    auto from = static_cast<std::uint64_t>(*after);
    if (const auto* last = call.request.headers.find("Last-Event-ID")) {
        auto [end, ec] = std::from_chars(last->data(), last->data() + last->size(), from);
        if (ec != std::errc{} || end != last->data() + last->size()) {
            sendError(call.writer, {ErrorCode::kInvalid, "Last-Event-ID must be a number"});
            return;
        }
    }
    // The stream's end is the connection's: a client must not send its next request on it.
    if (!call.writer.begin(200, {{"Content-Type", "text/event-stream"},
                                 {"Cache-Control", "no-store"},
                                 {"Connection", "close"}}))
        return;
    net::StreamOptions options;
    options.chunked = call.writer.chunked();
    // A finished execution's whole log comes in one burst.
    options.queue_limit_bytes = 32U << 20U;
    auto socket = call.writer.detach();
    if (!socket) return;
    auto follower = std::make_shared<Follower>();
    options.on_closed = [follower](net::StreamId, net::StreamEnd) {
        std::shared_ptr<service::Watch> watch;
        {
            std::lock_guard lock(follower->mutex);
            follower->closed = true;
            watch = std::exchange(follower->watch, nullptr);
        }
        if (watch) watch->stop();
    };
    auto stream = streams_.add(std::move(socket), std::move(options));
    auto watch = service_.watch(*row, from, [this, stream](const service::EncodedEventPtr& event) {
        // Aliases the event: all watchers share its bytes.
        std::shared_ptr<const std::string> piece(event, &event->sse);
        bool open = streams_.push(stream, std::move(piece));
        if (event->terminal) streams_.finish(stream);
        return open;
    });
    {
        std::lock_guard lock(follower->mutex);
        if (follower->closed) return;
        follower->watch = watch;
    }
    if (auto caught_up = watch->run(); !caught_up) streams_.close(stream);
}

}  // namespace aegis::api
