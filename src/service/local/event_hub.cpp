#include "service/local/event_hub.h"

#include "wire/sse.h"

namespace aegis::service {

EncodedEventPtr encodeEvent(const execution::Event& event, const ExecutionId& execution,
                            const AgentId& agent) {
    auto out = std::make_shared<EncodedEvent>();
    out->seq = event.seq;
    out->json = json::dump(execution::toJson(event, execution, agent));
    out->sse = wire::encodeSse({"", std::to_string(event.seq), out->json, {}});
    out->terminal = std::holds_alternative<execution::ExecutionCompleted>(event.data) ||
                    std::holds_alternative<execution::ExecutionFailed>(event.data) ||
                    std::holds_alternative<execution::ExecutionCancelled>(event.data);
    return out;
}

EventHub::Subscription EventHub::subscribe(const ExecutionId& id, Callback callback) {
    std::lock_guard lock(mutex_);
    auto subscription = next_++;
    watchers_[id].emplace(subscription, std::move(callback));
    where_.emplace(subscription, id);
    return subscription;
}

void EventHub::unsubscribe(Subscription subscription) {
    std::lock_guard lock(mutex_);
    auto it = where_.find(subscription);
    if (it == where_.end()) return;
    auto watchers = watchers_.find(it->second);
    watchers->second.erase(subscription);
    if (watchers->second.empty()) watchers_.erase(watchers);
    where_.erase(it);
}

void EventHub::publish(const ExecutionId& id, const AgentId& agent,
                       const std::vector<execution::Event>& events) {
    // The lock is held over the callbacks, which only queue: unsubscribe() thereby waits for them.
    std::lock_guard lock(mutex_);
    auto it = watchers_.find(id);
    if (it == watchers_.end()) return;
    for (const auto& event : events) {
        auto encoded = encodeEvent(event, id, agent);
        for (auto& [subscription, callback] : it->second) callback(encoded);
    }
}

}  // namespace aegis::service
