// The node's event stream: pages, and live as server-sent events.

#include <algorithm>
#include <mutex>
#include <utility>

#include "api/answer.h"
#include "api/api_routes.h"

namespace aegis::api {
namespace {

constexpr int kMaxPage = 1000;

/// "type=A&type=B" and "type=A,B".
std::vector<std::string> typeParameters(const net::Request& request) {
    std::vector<std::string> out;
    for (const auto& [name, value] : request.query) {
        if (name != "type") continue;
        std::string_view rest = value;
        while (!rest.empty()) {
            auto comma = std::min(rest.find(','), rest.size());
            if (comma > 0) out.emplace_back(rest.substr(0, comma));
            rest.remove_prefix(std::min(comma + 1, rest.size()));
        }
    }
    return out;
}

Result<service::NodeEventQuery> queryOf(const net::Request& request) {
    service::NodeEventQuery query;
    query.after = request.query.get("after", request.query.get("cursor"));
    if (const auto* last = request.headers.find("Last-Event-ID")) query.after = *last;
    query.agent = request.query.get("agent_id", request.query.get("agent"));
    query.types = typeParameters(request);
    if (const auto* since = request.query.find("since")) {
        query.since = UtcTime::parse(*since);
        if (!query.since) return {ErrorCode::kInvalid, "since must be an RFC 3339 UTC time"};
    }
    AEGIS_TRY(auto limit, intParameter(request, "limit", 100, 1, kMaxPage));
    query.limit = static_cast<int>(limit);
    return query;
}

/// A watcher's stream: the feed feeds it, the hub ends it. Shared by the two.
struct NodeFollower {
    std::mutex mutex;
    bool closed = false;
    service::NodeFeed::Subscription subscription = 0;
};

}  // namespace

void ApiRoutes::nodeEvents(Call& call) {
    auto query = queryOf(call.request);
    if (!query) {
        sendError(call.writer, query.error());
        return;
    }
    auto accept = call.request.headers.get("Accept");
    if (accept.find("text/event-stream") != std::string_view::npos ||
        call.request.query.get("follow") == "true") {
        streamNodeEvents(call, *query);
        return;
    }
    sendResult(call.writer, service_.nodeEvents(call.who, *query));
}

void ApiRoutes::streamNodeEvents(Call& call, const service::NodeEventQuery& query) {
    if (!mayStream(call.writer)) return;
    auto filter = service_.nodeEventFilter(query);
    if (!filter) {
        sendError(call.writer, filter.error());
        return;
    }
    // What is stored already is written from here: pushed to the hub at once, a long history would
    // outgrow the queue of a client that is not slow.
    filter->limit = kMaxPage;
    while (true) {
        auto page = journal_.nodeEvents(*filter);
        if (!page) {
            sendError(call.writer, page.error());
            return;
        }
        if (!call.writer.begun() && !call.writer.begin(200, {{"Content-Type", "text/event-stream"},
                                                             {"Cache-Control", "no-store"},
                                                             {"Connection", "close"}}))
            return;
        std::string text;
        for (const auto& event : page->events)
            text += service::encodeNodeEvent(event)->sse;
        if (!text.empty() && !call.writer.write(text)) return;
        filter->cursor = page->cursor;
        if (page->events.size() < filter->limit) break;
    }
    net::StreamOptions options;
    options.chunked = call.writer.chunked();
    auto socket = call.writer.detach();
    if (!socket) return;
    auto follower = std::make_shared<NodeFollower>();
    options.on_closed = [this, follower](net::StreamId, net::StreamEnd) {
        service::NodeFeed::Subscription subscription = 0;
        {
            std::lock_guard lock(follower->mutex);
            follower->closed = true;
            subscription = std::exchange(follower->subscription, 0);
        }
        if (subscription != 0) service_.unfollow(subscription);
    };
    auto stream = streams_.add(std::move(socket), std::move(options));
    auto subscription = service_.follow(
        std::move(*filter),
        {[this, stream](const service::NodeEventTextPtr& event) {
             // Aliases the event: all watchers share its bytes.
             return streams_.push(stream, std::shared_ptr<const std::string>(event, &event->sse));
         },
         [this, stream](const Error&) { streams_.close(stream); }});
    std::unique_lock lock(follower->mutex);
    follower->subscription = subscription;
    if (!follower->closed) return;
    lock.unlock();
    service_.unfollow(subscription);
}

}  // namespace aegis::api
