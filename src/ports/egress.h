#pragma once

#include <optional>

#include "agent/manifest.h"
#include "execution/event.h"
#include "ports/sandbox.h"

namespace aegis::ports {

/// What the egress proxy asks and tells of a sandbox. Safe on any thread; never blocks.
class EgressSink {
  public:
    virtual ~EgressSink() = default;
    /// The network policy of a running sandbox; none: there is no such sandbox.
    virtual std::optional<agent::NetworkSpec> network(const SandboxId& id) = 0;
    /// One connection was refused, or is over.
    virtual void decided(const SandboxId& id, execution::EgressDecided data) = 0;
};

}  // namespace aegis::ports
