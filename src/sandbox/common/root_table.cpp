#include "sandbox/common/root_table.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "os/files.h"
#include "sandbox/common/ctl_channel.h"

namespace aegis::sandbox {

Result<os::Fd> openRootOf(pid_t pid, const os::Fd& pidfd) {
    auto root = os::openFile(fmt::format("/proc/{}/root", pid), O_PATH | O_DIRECTORY);
    // The number may have been given to another process; only while the pidfd's lives is it this
    // one's.
    if (hasEnded(pidfd)) return {ErrorCode::kNotFound, "the sandbox has ended"};
    return root;
}

void RootTable::add(const ports::SandboxId& id, pid_t pid, const os::Fd& pidfd) {
    auto process = std::make_shared<Process>();
    process->pid = pid;
    process->pidfd.reset(::fcntl(pidfd.get(), F_DUPFD_CLOEXEC, 0));
    std::lock_guard lock(mutex_);
    processes_[id] = std::move(process);
}

void RootTable::remove(const ports::SandboxId& id) {
    std::lock_guard lock(mutex_);
    processes_.erase(id);
}

Result<os::Fd> RootTable::open(const ports::SandboxId& id) const {
    std::shared_ptr<const Process> process;
    {
        std::lock_guard lock(mutex_);
        if (auto found = processes_.find(id); found != processes_.end()) process = found->second;
    }
    if (!process || !process->pidfd) return {ErrorCode::kNotFound, "the sandbox is not running"};
    return openRootOf(process->pid, process->pidfd);
}

}  // namespace aegis::sandbox
