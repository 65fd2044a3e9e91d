#include "service/local/node_feed.h"

#include <algorithm>

#include "wire/sse.h"

namespace aegis::service {
namespace {

constexpr std::size_t kPage = 500;

std::string_view textOf(const json::Object& event, std::string_view key) {
    const auto* value = event.if_contains(key);
    return value != nullptr && value->is_string() ? json::view(value->get_string())
                                                  : std::string_view();
}

bool passes(const ports::NodeEventFilter& filter, const ports::NodeEvent& event) {
    if (filter.since && event.time < *filter.since) return false;
    if (!filter.agent.empty() && filter.agent != event.agent_name &&
        filter.agent != textOf(event.event, "agent_id"))
        return false;
    auto type = textOf(event.event, "type");
    return filter.types.empty() || std::ranges::find(filter.types, type) != filter.types.end();
}

}  // namespace

json::Object nodeEventJson(const ports::NodeEvent& event) {
    auto out = event.event;
    out["agent_name"] = event.agent_name;
    out["cursor"] = event.cursor;
    return out;
}

NodeEventTextPtr encodeNodeEvent(const ports::NodeEvent& event) {
    auto out = std::make_shared<NodeEventText>();
    out->cursor = event.cursor;
    out->json = json::dump(nodeEventJson(event));
    out->sse = wire::encodeSse({"", event.cursor, out->json, {}});
    return out;
}

NodeFeed::NodeFeed(ports::Journal& journal) : journal_(journal), pool_(1, 4) {}

NodeFeed::~NodeFeed() { pool_.stop(); }

void NodeFeed::poke() {
    if (count_ == 0 || pending_.exchange(true)) return;
    // Refused only when stopping: one job waits at most.
    (void)pool_.submit([this] { pump(); });
}

NodeFeed::Subscription NodeFeed::subscribe(ports::NodeEventFilter from, Watcher watcher) {
    Subscription subscription = 0;
    {
        std::lock_guard lock(mutex_);
        subscription = next_++;
        from.limit = kPage;
        entries_.emplace(subscription, Entry{std::move(from), std::move(watcher), false, 0});
        ++count_;
    }
    poke();
    return subscription;
}

void NodeFeed::unsubscribe(Subscription subscription) {
    std::lock_guard lock(mutex_);
    count_ -= entries_.erase(subscription);
}

void NodeFeed::pump() {
    // Before the reads: what is committed after them pokes again.
    pending_ = false;
    bool more = true;
    while (more) {
        // Given back after each page: unsubscribe() must not wait for a whole history.
        std::lock_guard lock(mutex_);
        more = catchUp();
        more = readLive() || more;
    }
}

/// One page for each watcher that is still behind; whether one of them stays behind.
bool NodeFeed::catchUp() {
    bool behind = false;
    for (auto it = entries_.begin(); it != entries_.end();) {
        auto& entry = it->second;
        bool keep = true;
        if (!entry.live) {
            auto page = journal_.nodeEvents(entry.filter);
            if (!page && entry.watcher.failed) entry.watcher.failed(page.error());
            keep = page && give(entry, *page);
            if (keep) {
                entry.filter.cursor = page->cursor;
                entry.order = page->order;
                entry.live = page->events.size() < kPage;
                behind |= !entry.live;
            }
        }
        it = keep ? std::next(it) : entries_.erase(it);
    }
    count_ = entries_.size();
    return behind;
}

bool NodeFeed::give(Entry& entry, const ports::NodeEventPage& page) {
    return std::ranges::all_of(page.events, [&](const ports::NodeEvent& event) {
        return entry.watcher.deliver(encodeNodeEvent(event));
    });
}

/// One page for all live watchers together, from where the hindmost is; whether there is more.
bool NodeFeed::readLive() {
    const Entry* hindmost = nullptr;
    for (const auto& [subscription, entry] : entries_) {
        if (entry.live && (hindmost == nullptr || entry.order < hindmost->order)) hindmost = &entry;
    }
    if (hindmost == nullptr) return false;
    ports::NodeEventFilter all;
    all.cursor = hindmost->filter.cursor;
    all.limit = kPage;
    auto page = journal_.nodeEvents(all);
    std::vector<NodeEventTextPtr> encoded(page ? page->events.size() : 0);
    auto deliver = [&](Entry& entry) {
        for (std::size_t i = 0; i < encoded.size(); ++i) {
            const auto& event = page->events[i];
            if (event.order <= entry.order || !passes(entry.filter, event)) continue;
            if (!encoded[i]) encoded[i] = encodeNodeEvent(event);
            if (!entry.watcher.deliver(encoded[i])) return false;
        }
        if (page->order > entry.order) {
            entry.order = page->order;
            entry.filter.cursor = page->cursor;
        }
        return true;
    };
    for (auto it = entries_.begin(); it != entries_.end();) {
        bool keep = true;
        if (it->second.live) {
            if (!page && it->second.watcher.failed) it->second.watcher.failed(page.error());
            keep = page && deliver(it->second);
        }
        it = keep ? std::next(it) : entries_.erase(it);
    }
    count_ = entries_.size();
    return page && page->events.size() == kPage;
}

}  // namespace aegis::service
