#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "agent/manifest.h"
#include "base/result.h"
#include "base/time.h"
#include "execution/event.h"
#include "ports/sandbox.h"

namespace aegis::ports {

/// One GET in an execution's name.
struct WebRequest {
    SandboxId sandbox;
    agent::NetworkSpec network;  ///< what it may reach
    std::string url;
    std::uint64_t max_bytes = 0;  ///< of the body; what comes beyond it is cut off
    Deadline deadline;
    std::stop_token stop;
    /// Told each decision, before the answer; on any thread, must not block.
    std::function<void(execution::EgressDecided)> decided;
};

struct WebAnswer {
    int status = 0;
    std::string url;           ///< after redirects
    std::string content_type;  ///< as the server says; may be empty
    std::string body;          ///< text, but of whatever encoding
    bool truncated = false;
};

/// The web, for tools of the daemon, under the same rules as what runs in a sandbox. Any thread.
class Web {
  public:
    virtual ~Web() = default;
    /// kInvalid for what is no URL that could ever be fetched. Quick.
    virtual Status check(const std::string& url) const = 0;
    /// `done` once, on any thread, also the caller's. kPermissionDenied, kUnreachable, kTimeout,
    /// kCancelled, kTooMany, kUnsupported (not text), kTooLarge, kIo.
    virtual void fetch(WebRequest request, std::function<void(Result<WebAnswer>)> done) = 0;
};

}  // namespace aegis::ports
