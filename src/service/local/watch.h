#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "service/local/event_hub.h"

namespace aegis::service {

/// Delivers an execution's events with seq > after, each once and in order: first those that are
/// stored, then live ones, ending after the terminal event. `deliver` runs on the thread of run()
/// while it catches up and later on the hub's; it must not block and returns false to stop.
///
/// Shared: the hub's callback keeps it alive until stop().
class Watch : public std::enable_shared_from_this<Watch> {
  public:
    using Deliver = std::function<bool(const EncodedEventPtr&)>;

    Watch(EventHub& hub, ports::Journal& journal, ExecutionId id, AgentId agent,
          std::uint64_t after, Deliver deliver)
        : hub_(hub),
          journal_(journal),
          id_(id),
          agent_(agent),
          last_(after),
          deliver_(std::move(deliver)) {}

    /// Subscribes and catches up; returns when the rest will come live, or at the end.
    Status run();
    /// No more deliveries after it returns. Not from inside `deliver`.
    void stop();
    bool ended() const;

  private:
    void live(const EncodedEventPtr& event);
    bool deliverLocked(const EncodedEventPtr& event);

    EventHub& hub_;
    ports::Journal& journal_;
    const ExecutionId id_;
    const AgentId agent_;
    mutable std::mutex mutex_;
    std::uint64_t last_;
    Deliver deliver_;
    bool catching_up_ = true;
    bool ended_ = false;
    std::vector<EncodedEventPtr> early_;  ///< came live while catching up
    EventHub::Subscription subscription_ = 0;
};

}  // namespace aegis::service
