#include "service/local/watch.h"

#include <utility>

namespace aegis::service {

Status Watch::run() {
    constexpr std::size_t kPage = 500;
    auto self = shared_from_this();
    auto subscription =
        hub_.subscribe(id_, [self](const EncodedEventPtr& event) { self->live(event); });
    std::unique_lock starting(mutex_);
    if (ended_) {
        // Stopped before it began: nobody will stop it again.
        starting.unlock();
        hub_.unsubscribe(subscription);
        return {};
    }
    subscription_ = subscription;
    starting.unlock();
    while (true) {
        std::uint64_t after = 0;
        {
            std::lock_guard lock(mutex_);
            after = last_;
        }
        auto page = journal_.events(id_, after, kPage);
        if (!page) return page.error();
        std::lock_guard lock(mutex_);
        for (const auto& event : *page) {
            if (!deliverLocked(encodeEvent(event, id_, agent_))) return {};
        }
        if (page->size() == kPage) continue;
        for (const auto& event : early_) {
            if (!deliverLocked(event)) break;
        }
        early_.clear();
        catching_up_ = false;
        return {};
    }
}

void Watch::live(const EncodedEventPtr& event) {
    std::lock_guard lock(mutex_);
    if (catching_up_)
        early_.push_back(event);
    else
        deliverLocked(event);
}

bool Watch::deliverLocked(const EncodedEventPtr& event) {
    if (ended_) return false;
    if (event->seq <= last_) return true;
    last_ = event->seq;
    ended_ = !deliver_(event) || event->terminal;
    return !ended_;
}

void Watch::stop() {
    EventHub::Subscription subscription = 0;
    {
        std::lock_guard lock(mutex_);
        ended_ = true;
        subscription = std::exchange(subscription_, 0);
    }
    if (subscription != 0) hub_.unsubscribe(subscription);
}

bool Watch::ended() const {
    std::lock_guard lock(mutex_);
    return ended_;
}

}  // namespace aegis::service
