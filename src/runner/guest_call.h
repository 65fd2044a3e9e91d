#pragma once

#include <condition_variable>
#include <deque>
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
    std::string content;  ///< of a delta or a final
    std::string dispatch_id;
    ports::DispatchCommand command;
    int tool_calls_executed = 0;
    std::string code, message;  ///< of an error
    bool retryable = false;
};

/// A guest's request that waits for its answer: deltas as they come, then one closing message
/// (dispatch, final or error), which is pushed only after the event behind it is durable. The guest
/// API's thread pops, the execution's core thread pushes. Shared by the two; either may let go
/// first.
class GuestCall {
  public:
    /// Deltas beyond 4 MiB unread are dropped: they are provisional, the closing message holds all.
    void push(GuestMessage message);
    void fail(std::string code, std::string message, bool retryable);
    /// The next message; none when the deadline passed or after the closing message.
    std::optional<GuestMessage> next(Deadline deadline, Clock& clock);
    /// The guest's connection is gone: nothing more is read.
    void abandon();
    bool open() const;

  private:
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<GuestMessage> queue_;
    std::size_t queued_bytes_ = 0;
    bool closed_ = false;  ///< the closing message was pushed, or nobody reads
};
using GuestCallPtr = std::shared_ptr<GuestCall>;

}  // namespace aegis::runner
