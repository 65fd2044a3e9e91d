#pragma once

#include <atomic>

#include "net/server.h"
#include "ports/sandbox.h"
#include "proto/chat.h"
#include "runner/runner.h"

namespace aegis::guest_api {

/// The format that a path speaks; none: it is not one of chat's.
std::optional<proto::chat::Format> chatFormat(std::string_view path);

/// Calls in other APIs' formats that one sandbox has under way at once; the next is told 429. Fewer
/// than its connections, so that there is always one to tell it on.
inline constexpr int kMaxChats = 12;

/// One request of the guest `id` in a format that is not ours, from its first byte to its last. On
/// the connection's thread; `under_way` counts the sandbox's.
class Chat {
  public:
    Chat(runner::Runner& runner, Clock& clock, proto::chat::Format format,
         net::ResponseWriter& writer)
        : runner_(runner), clock_(clock), format_(format), writer_(writer) {}

    void serve(const ports::SandboxId& id, const net::Request& request,
               std::atomic<int>& under_way);

  private:
    void converse(const ports::SandboxId& id, const proto::chat::Request& asked);
    bool tell(const proto::chat::Request& asked, const runner::GuestMessage& message,
              runner::GuestCall& call);
    bool tellEnd(const proto::chat::Request& asked, const runner::GuestMessage& message,
                 runner::GuestCall& call);
    bool push(const std::string& events);
    bool pushLast(const std::string& events);
    void refuse(const Error& error, std::optional<std::int64_t> retry_after_ms = {});
    proto::chat::AnswerHead headOf(const proto::chat::Request& asked,
                                   const runner::GuestCall& call) const;

    runner::Runner& runner_;
    Clock& clock_;
    proto::chat::Format format_;
    net::ResponseWriter& writer_;
    std::optional<proto::chat::AnswerStream> stream_;
};

}  // namespace aegis::guest_api
