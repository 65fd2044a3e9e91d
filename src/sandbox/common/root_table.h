#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <mutex>

#include "os/fd.h"
#include "ports/sandbox.h"

namespace aegis::sandbox {

/// The root directory of a process as it sees it, O_PATH. kNotFound: the process has ended.
Result<os::Fd> openRootOf(pid_t pid, const os::Fd& pidfd);

/// The first process of each running sandbox, for root(), which must answer at once on any thread.
class RootTable {
  public:
    /// `pidfd` is duplicated.
    void add(const ports::SandboxId& id, pid_t pid, const os::Fd& pidfd);
    void remove(const ports::SandboxId& id);
    /// An O_PATH descriptor of the root directory that process sees. kNotFound once it has ended.
    Result<os::Fd> open(const ports::SandboxId& id) const;

  private:
    struct Process {
        pid_t pid = 0;
        os::Fd pidfd;
    };
    mutable std::mutex mutex_;
    // Shared: an open() under way keeps the pidfd while remove() drops the entry.
    std::map<ports::SandboxId, std::shared_ptr<const Process>> processes_;
};

}  // namespace aegis::sandbox
