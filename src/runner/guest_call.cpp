#include "runner/guest_call.h"

#include <algorithm>
#include <chrono>

namespace aegis::runner {

void GuestCall::push(GuestMessage message) {
    constexpr std::size_t kMaxQueuedBytes = 4U << 20U;
    {
        std::lock_guard lock(mutex_);
        if (closed_) return;
        bool delta = message.kind == GuestMessage::Kind::kDelta;
        if (delta && queued_bytes_ + message.content.size() > kMaxQueuedBytes) return;
        if (delta) queued_bytes_ += message.content.size();
        closed_ = !delta;
        queue_.push_back(std::move(message));
    }
    wake_.notify_all();
}

void GuestCall::fail(std::string code, std::string message, bool retryable) {
    GuestMessage error;
    error.code = std::move(code);
    error.message = std::move(message);
    error.retryable = retryable;
    push(std::move(error));
}

std::optional<GuestMessage> GuestCall::next(Deadline deadline, Clock& clock) {
    std::unique_lock lock(mutex_);
    while (queue_.empty()) {
        auto left = deadline.leftMs(clock.boot());
        if (closed_ || left == 0) return std::nullopt;
        wake_.wait_for(lock, std::chrono::milliseconds(std::min<std::int64_t>(left, 60'000)));
    }
    auto message = std::move(queue_.front());
    queue_.pop_front();
    if (message.kind == GuestMessage::Kind::kDelta) queued_bytes_ -= message.content.size();
    return message;
}

void GuestCall::abandon() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    queue_.clear();
}

bool GuestCall::open() const {
    std::lock_guard lock(mutex_);
    return !closed_;
}

}  // namespace aegis::runner
