#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sandbox/common/guest_sandbox.h"

namespace aegis::sandbox {

/// The sandboxes of a runtime by id, owned by the reactor's thread. Every call may come from any
/// other thread; what it asks for is posted there.
class SandboxTable {
  public:
    explicit SandboxTable(Reactor& reactor) : reactor_(reactor) {}

    /// Starts it, or tells `sink` kConflict when one of that id lives.
    void start(std::shared_ptr<GuestSandbox> sandbox, ports::SandboxSink& sink);
    void close(const ports::SandboxId& id, Deadline deadline, std::function<void(Status)> done);
    void run(const ports::SandboxId& id, std::vector<std::string> command, Deadline deadline,
             std::function<void(Result<ports::CommandResult>)> done);

    /// Closes what lives but is not kept, and waits until it is over. Not from the reactor's
    /// thread.
    Status closeAll(const std::set<ports::SandboxId>& keep, Deadline deadline);
    /// The live sandboxes and the names of their run directories. Not from the reactor's thread.
    std::map<ports::SandboxId, std::string> snapshot();

    /// On the reactor's thread: a sandbox is over.
    void erase(const ports::SandboxId& id) { sandboxes_.erase(id); }

  private:
    Reactor& reactor_;
    // Shared: see GuestSandbox.
    std::map<ports::SandboxId, std::shared_ptr<GuestSandbox>> sandboxes_;
};

}  // namespace aegis::sandbox
