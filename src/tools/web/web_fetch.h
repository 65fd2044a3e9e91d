#pragma once

#include <functional>

#include "ports/tools.h"
#include "ports/web.h"

namespace aegis::tools {

/// Of a page's body.
inline constexpr std::uint64_t kMaxPageBytes = 256 * 1024;

/// The tool `web.fetch`. Immutable; any thread.
class WebFetch {
  public:
    static constexpr std::string_view kName = "web.fetch";

    /// `web` outlives it.
    explicit WebFetch(ports::Web& web) : web_(web) {}

    static ports::ToolSpec spec();
    /// By the call's text alone; what the network policy says comes with the outcome.
    ports::ToolAdmission admit(const ports::ToolCall& call) const;
    /// `done` once, on any thread. ok = a status below 400; the model gets
    /// {"status","url","content_type","body","truncated"}.
    void run(const ports::ToolContext& context, const ports::ToolCall& call, Deadline deadline,
             std::function<void(ports::ToolOutcome)> done) const;

  private:
    ports::Web& web_;
};

}  // namespace aegis::tools
