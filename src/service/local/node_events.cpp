// The node's event stream: pages and live.

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "service/local/local_service.h"
#include "text/edit_distance.h"

namespace aegis::service {
namespace {

Status checkTypes(const std::vector<std::string>& types) {
    auto known = execution::eventTypes();
    for (auto agent :
         {"AgentDeployed", "AgentUpdated", "AgentPaused", "AgentResumed", "AgentDeleted"})
        known.emplace_back(agent);
    for (const auto& type : types) {
        if (std::ranges::find(known, type) != known.end()) continue;
        std::string hint = "the types are those of the event log, like ExecutionStarted";
        if (auto near = text::closest(type, known, 4))
            hint = fmt::format("did you mean \"{}\"?", *near);
        return {ErrorCode::kInvalid, fmt::format("unknown event type \"{}\"", type), hint};
    }
    return {};
}

}  // namespace

Result<ports::NodeEventFilter> LocalService::nodeEventFilter(const NodeEventQuery& query) {
    AEGIS_CHECK(checkTypes(query.types));
    ports::NodeEventFilter out;
    out.cursor = query.after;
    out.since = query.since;
    out.types = query.types;
    out.limit = static_cast<std::size_t>(std::max(query.limit, 1));
    AEGIS_TRY(out.agent, agentFilter(query.agent));
    return out;
}

Result<json::Value> LocalService::nodeEvents(const Principal&, const NodeEventQuery& query) {
    AEGIS_TRY(auto filter, nodeEventFilter(query));
    AEGIS_TRY(auto page, p_.journal.nodeEvents(filter));
    json::Array items;
    for (const auto& event : page.events)
        items.push_back(nodeEventJson(event));
    return json::Value(
        json::Object{{"items", std::move(items)}, {"next_cursor", std::move(page.cursor)}});
}

Status LocalService::watchNodeEvents(const Principal&, const NodeEventQuery& query, std::int64_t,
                                     const EventCallback& callback) {
    AEGIS_TRY(auto filter, nodeEventFilter(query));
    // Read once before: a cursor that is none is an error at once.
    AEGIS_TRY(auto page, p_.journal.nodeEvents(filter));
    for (const auto& event : page.events) {
        if (!callback(nodeEventJson(event))) return {};
    }
    filter.cursor = page.cursor;
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<NodeEventTextPtr> queue;
    Status status;
    auto subscription = p_.feed.subscribe(std::move(filter), {[&](const NodeEventTextPtr& event) {
                                                                  std::lock_guard lock(mutex);
                                                                  queue.push_back(event);
                                                                  wake.notify_one();
                                                                  return true;
                                                              },
                                                              [&](const Error& error) {
                                                                  std::lock_guard lock(mutex);
                                                                  status = error;
                                                                  wake.notify_one();
                                                              }});
    bool going = true;
    while (going) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return !queue.empty() || !status; });
        if (queue.empty()) break;
        auto event = std::move(queue.front());
        queue.pop_front();
        lock.unlock();
        auto value = json::parse(event->json);
        going = value && callback(*value);
    }
    p_.feed.unsubscribe(subscription);
    return status;
}

NodeFeed::Subscription LocalService::follow(ports::NodeEventFilter from,
                                            NodeFeed::Watcher watcher) {
    return p_.feed.subscribe(std::move(from), std::move(watcher));
}

void LocalService::unfollow(NodeFeed::Subscription subscription) {
    p_.feed.unsubscribe(subscription);
}

}  // namespace aegis::service
