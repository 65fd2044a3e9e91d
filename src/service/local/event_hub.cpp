#include "service/local/event_hub.h"

#include "execution/event_text.h"
#include "wire/sse.h"

namespace aegis::service {
namespace {
constexpr std::size_t kMostQueued = 1024;
}  // namespace

EncodedEventPtr encodeEvent(const execution::Event& event, const ExecutionId& execution,
                            const AgentId& agent) {
    auto out = std::make_shared<EncodedEvent>();
    out->seq = event.seq;
    out->json = execution::toText(event, execution, agent);
    out->sse = wire::encodeSse({"", std::to_string(event.seq), out->json, {}});
    out->terminal = std::holds_alternative<execution::ExecutionCompleted>(event.data) ||
                    std::holds_alternative<execution::ExecutionFailed>(event.data) ||
                    std::holds_alternative<execution::ExecutionCancelled>(event.data);
    return out;
}

EventHub::EventHub() : pool_(1, kMostQueued) {}

EventHub::Subscription EventHub::subscribe(const ExecutionId& id, Callback callback) {
    std::lock_guard lock(mutex_);
    {
        std::lock_guard door(door_);
        ++counts_[id];
    }
    auto subscription = next_++;
    watchers_[id].emplace(subscription, std::move(callback));
    where_.emplace(subscription, id);
    return subscription;
}

void EventHub::unsubscribe(Subscription subscription) {
    std::lock_guard lock(mutex_);
    auto it = where_.find(subscription);
    if (it == where_.end()) return;
    {
        std::lock_guard door(door_);
        auto count = counts_.find(it->second);
        if (--count->second == 0) counts_.erase(count);
    }
    auto watchers = watchers_.find(it->second);
    watchers->second.erase(subscription);
    if (watchers->second.empty()) watchers_.erase(watchers);
    where_.erase(it);
}

bool EventHub::isWatched(const ExecutionId& id) {
    std::lock_guard door(door_);
    return counts_.contains(id);
}

void EventHub::publish(const ExecutionId& id, const AgentId& agent,
                       const std::vector<execution::Event>& events) {
    // Who comes from here on reads these events, which are stored.
    if (!isWatched(id)) return;
    Events encoded;
    for (const auto& event : events)
        encoded.push_back(encodeEvent(event, id, agent));
    {
        std::unique_lock door(door_);
        room_.wait(door, [this] { return queued_ < kMostQueued; });
        ++queued_;
    }
    // Never full: it has room for what is counted.
    (void)pool_.submit([this, id, encoded = std::move(encoded)] {
        tell(id, encoded);
        std::lock_guard door(door_);
        --queued_;
        room_.notify_one();
    });
}

void EventHub::tell(const ExecutionId& id, const Events& events) {
    // The lock is held over the callbacks, which only queue: unsubscribe() thereby waits for them.
    std::lock_guard lock(mutex_);
    auto it = watchers_.find(id);
    if (it == watchers_.end()) return;
    for (auto& [subscription, callback] : it->second) {
        for (const auto& event : events)
            callback(event);
    }
}

}  // namespace aegis::service
