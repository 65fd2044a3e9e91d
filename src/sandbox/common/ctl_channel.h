#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "os/fd.h"
#include "proto/ctl.h"
#include "sandbox/common/oom.h"

namespace aegis::sandbox {

/// Who connected to a sandbox's ctl.sock. The pidfd names the same process for ever, the pid only
/// while it lives.
struct CtlPeer {
    os::Fd connection;
    os::Fd pidfd;
    pid_t pid = 0;
    bool first_process = false;        ///< PID 1 of a namespace below ours
    std::string proc_cgroup;           ///< its /proc/<pid>/cgroup
    std::optional<OomCounter> memory;  ///< of one that was watched ahead (watchMemory)
};

/// A listening SOCK_SEQPACKET socket that any user may connect to; the directory above it decides
/// who can reach it.
Result<os::Fd> listenCtl(const std::string& path);

/// One pending connection, with what the kernel says of its peer; nullopt when there is none or the
/// peer has died. Never waits.
Result<std::optional<CtlPeer>> acceptCtl(int listener);

/// A pidfd for `pid`, which must be running. kNotFound otherwise.
Result<os::Fd> openPidfd(pid_t pid);

/// Whether the process has ended. A pid namespace's first process ends after all others in it.
bool hasEnded(const os::Fd& pidfd);

/// SIGKILL. What has ended already is success.
Status killProcess(const os::Fd& pidfd);

/// One message; nullopt when there is none yet. kIo at the end of the connection, kInvalid for what
/// is no message of the protocol. Descriptors that a guest attaches are never taken. Never waits.
Result<std::optional<proto::ctl::GuestMessage>> receiveCtl(int connection);

/// Sends one message with descriptors. Never waits: the guest reads what it is sent, or is broken
/// (kIo). To one that is gone nothing is sent and nothing said: its process tells how it ended.
Status sendCtl(int connection, const std::string& message, std::span<const int> fds = {});

}  // namespace aegis::sandbox
