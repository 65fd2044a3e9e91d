#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/time.h"
#include "ports/tools.h"

namespace aegis::runner {

/// One line of the answer to a guest's request.
struct GuestMessage {
    enum class Kind : std::uint8_t { kDelta, kDispatch, kFinal, kError } kind = Kind::kError;
    /// Of a delta or a final; of a final in another API's format: the answer's body.
    std::string content;
    std::string dispatch_id;
    ports::DispatchCommand command;
    int tool_calls_executed = 0;
    std::string code, message;  ///< of an error
    bool retryable = false;
    ErrorCode error = ErrorCode::kUnavailable;  ///< what `code` stands for in other APIs' formats
    std::optional<std::int64_t> retry_after_ms;
};

/// A guest's request that waits for its answer: deltas as they come, then one closing message
/// (dispatch, final or error), which is pushed only after the event behind it is durable. The guest
/// API's thread pops, or waits while the execution's thread, which pushes, delivers. Shared by the
/// two; either may let go first.
class GuestCall {
  public:
    /// Deltas beyond 4 MiB unread are dropped, and those after them, so that what is told is always
    /// how the answer begins: they are provisional, the closing message holds all.
    void push(GuestMessage message);
    void fail(std::string code, std::string message, bool retryable);
    /// The same with what the code stands for in other APIs.
    void fail(std::string code, const Error& error,
              std::optional<std::int64_t> retry_after_ms = {});
    /// Delivers messages on the thread that pushes them while next() waits for one, which spares a
    /// change of threads; false: it is for next(). Must not block nor use the call.
    void deliverBy(std::function<bool(const GuestMessage&)> deliver);
    /// The next message; none when the deadline passed or after the closing message.
    std::optional<GuestMessage> next(Deadline deadline, Clock& clock);
    /// The guest's connection is gone: nothing more is read.
    void abandon();
    bool open() const;
    /// Somebody is in next().
    bool waited() const;

    // Only for calls in another API's format, whose clients ask again by sending the same again.

    /// How the guest API's thread tells whether its client is gone; any thread may ask through it
    /// until abandon().
    void watch(std::function<bool()> gone);
    /// The answer is on its way to the client whole; false takes it back.
    void setDelivered(bool delivered);
    bool delivered() const;
    /// Somebody reads, or will be told at once that nobody does.
    bool attended() const;
    /// No deltas: those so far are not known here.
    void mute();
    /// The id that the answer is told under, set before any message.
    void setId(std::string id);
    std::string id() const;

  private:
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<GuestMessage> queue_;
    std::size_t queued_bytes_ = 0;
    bool mute_ = false;
    bool delivered_ = false;
    bool abandoned_ = false;
    std::string id_;
    std::function<bool()> gone_;
    std::function<bool(const GuestMessage&)> deliver_;
    bool waiting_ = false;  ///< in next()
    bool closed_ = false;  ///< the closing message was pushed, or nobody reads
};
using GuestCallPtr = std::shared_ptr<GuestCall>;

}  // namespace aegis::runner
