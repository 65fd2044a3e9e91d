#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::sandbox {

/// The file that counts out-of-memory kills for a process with this /proc/<pid>/cgroup: cgroup v1's
/// memory.oom_control where a v1 memory hierarchy is named, else v2's memory.events. Nullopt:
/// neither.
std::optional<std::string> oomFileOf(std::string_view proc_cgroup);

/// The file that limits what lies in a group's TCP sockets. Only cgroup v1 has it: there, that is
/// no part of the memory that is limited, and 700 connections over loopback held 2 GiB of the
/// host's.
std::optional<std::string> tcpLimitFileOf(std::string_view proc_cgroup);

/// The value of `oom_kill` in either file; nullopt when it has none.
std::optional<std::uint64_t> parseOomKills(std::string_view file);

/// Whether the process runs in the cgroup of the container with this full id, whatever the engine's
/// cgroup driver calls it.
bool inCgroupOf(std::string_view proc_cgroup, std::string_view container_id);

/// Whether /proc/<pid>/status shows process 1 of a pid namespace below ours (the last NSpid of
/// several is 1).
bool isFirstProcess(std::string_view proc_status);

/// The OOM-kill counter of one container. The descriptor is opened while the first process lives:
/// the engine removes the directory soon after its death.
class OomCounter {
  public:
    OomCounter() = default;
    static Result<OomCounter> open(std::string_view proc_cgroup);

    /// Kills so far; nullopt when it cannot be told (the cgroup is gone, or was never found).
    std::optional<std::uint64_t> kills() const;

  private:
    os::Fd file_;
};

/// For a sandbox whose first process is known: limits TCP's buffers, where they have a limit, and
/// counts its group's out-of-memory kills, if they can be counted.
Result<OomCounter> watchMemory(std::string_view proc_cgroup);

}  // namespace aegis::sandbox
