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
        if (delta && queued_bytes_ + message.content.size() > kMaxQueuedBytes) mute_ = true;
        if (delta && mute_) return;
        if (waiting_ && queue_.empty() && deliver_ && deliver_(message)) {
            closed_ = !delta;
            if (delta) return;
            waiting_ = false;
            wake_.notify_all();
            return;
        }
        if (delta) queued_bytes_ += message.content.size();
        closed_ = !delta;
        queue_.push_back(std::move(message));
    }
    wake_.notify_all();
}

void GuestCall::fail(std::string code, std::string message, bool retryable) {
    GuestMessage error;
    error.error = retryable ? ErrorCode::kUnavailable : ErrorCode::kPermissionDenied;
    error.code = std::move(code);
    error.message = std::move(message);
    error.retryable = retryable;
    push(std::move(error));
}

void GuestCall::fail(std::string code, const Error& error,
                     std::optional<std::int64_t> retry_after_ms) {
    GuestMessage message;
    message.code = std::move(code);
    message.message =
        error.hint.empty() ? error.message : error.message + " (hint: " + error.hint + ")";
    message.error = error.code;
    message.retry_after_ms = retry_after_ms;
    push(std::move(message));
}

std::optional<GuestMessage> GuestCall::next(Deadline deadline, Clock& clock) {
    std::unique_lock lock(mutex_);
    while (queue_.empty()) {
        auto left = deadline.leftMs(clock.boot());
        if (closed_ || left == 0) return std::nullopt;
        waiting_ = true;
        wake_.wait_for(lock, std::chrono::milliseconds(std::min<std::int64_t>(left, 60'000)));
        waiting_ = false;
    }
    auto message = std::move(queue_.front());
    queue_.pop_front();
    if (message.kind == GuestMessage::Kind::kDelta) queued_bytes_ -= message.content.size();
    return message;
}

void GuestCall::abandon() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    abandoned_ = true;
    gone_ = nullptr;
    deliver_ = nullptr;
    queue_.clear();
}

void GuestCall::deliverBy(std::function<bool(const GuestMessage&)> deliver) {
    std::lock_guard lock(mutex_);
    deliver_ = std::move(deliver);
}

void GuestCall::watch(std::function<bool()> gone) {
    std::lock_guard lock(mutex_);
    gone_ = std::move(gone);
}

void GuestCall::setDelivered(bool delivered) {
    std::lock_guard lock(mutex_);
    delivered_ = delivered;
}

bool GuestCall::delivered() const {
    std::lock_guard lock(mutex_);
    return delivered_;
}

bool GuestCall::attended() const {
    std::lock_guard lock(mutex_);
    return !abandoned_ && !(gone_ && gone_());
}

void GuestCall::mute() {
    std::lock_guard lock(mutex_);
    mute_ = true;
}

void GuestCall::setId(std::string id) {
    std::lock_guard lock(mutex_);
    id_ = std::move(id);
}

std::string GuestCall::id() const {
    std::lock_guard lock(mutex_);
    return id_;
}

bool GuestCall::waited() const {
    std::lock_guard lock(mutex_);
    return waiting_;
}

bool GuestCall::open() const {
    std::lock_guard lock(mutex_);
    return !closed_;
}

}  // namespace aegis::runner
