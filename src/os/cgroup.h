#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"

namespace aegis::os {

/// What a control group holds its processes to, all of them together.
struct CgroupLimits {
    int cpu_millicores = 1000;
    std::uint64_t memory_bytes = 0;  ///< swap included: there is none on top
    int pids = 0;
    bool operator==(const CgroupLimits&) const = default;
};

/// A directory of control groups of ours, "aegis/<name>" in every hierarchy that is needed: cgroup
/// v1's cpu, memory and pids, or the one of v2 with these controllers. What is in it is the state:
/// a later process finds the same groups. Errors name the file. Any thread.
class CgroupTree {
  public:
    /// Finds the layout and makes the directory. kUnsupported names the controller that is missing,
    /// kPermissionDenied what may not be written.
    static Result<CgroupTree> open(const std::string& name);
    /// The same in hierarchies given by their mount points; for tests. One path: version 2.
    static Result<CgroupTree> openAt(const std::vector<std::string>& hierarchies, bool version2,
                                     const std::string& name);

    bool version2() const { return version2_; }
    /// Makes a group with its limits. kConflict when it exists.
    Status create(const std::string& group, const CgroupLimits& limits) const;
    /// The same in two steps: a group that limits nothing yet, and limits, or other ones.
    Status make(const std::string& group) const;
    Status limit(const std::string& group, const CgroupLimits& limits) const;
    /// What a new process gets there by. Version 2: the group's directory, for CLONE_INTO_CGROUP.
    /// Version 1: a file of each hierarchy; a process with one thread that writes "0" to all is
    /// there at once, while the kernel waits some 10 ms (RCU) before it moves one for another. The
    /// kernel asks who opened the file: with root's, whoever has it can move any process that he
    /// can name. With another `user`'s only those whose real or saved user that is.
    Result<std::vector<Fd>> entrance(const std::string& group, uid_t user = 0) const;
    /// Moves a process there, which may take these 10 ms.
    Status add(const std::string& group, pid_t pid) const;
    /// Whether a process with this /proc/<pid>/cgroup is there, in every hierarchy.
    bool holds(std::string_view proc_cgroup, const std::string& group) const;
    /// SIGKILL to all in it, again and again until it is empty. kTimeout.
    Status kill(const std::string& group, Deadline deadline) const;
    /// Removes an empty group; a missing one is success. kConflict: not empty.
    Status remove(const std::string& group) const;
    /// Removes a group, and kills what is still in it. kConflict, kTimeout when that does not end.
    Status destroy(const std::string& group, Deadline deadline) const;
    /// Takes the directory itself away, if no group is left in it. It cannot be used after that.
    void close() const;
    /// The groups there are.
    Result<std::vector<std::string>> list() const;

  private:
    CgroupTree() = default;
    Status limitV1(const std::string& group, const CgroupLimits& limits) const;
    Status limitV2(const std::string& group, const CgroupLimits& limits) const;
    std::string fileOf(std::size_t hierarchy, const std::string& group, const char* name) const;
    Status write(std::size_t hierarchy, const std::string& group, const char* name,
                 const std::string& value) const;
    Result<std::vector<pid_t>> processes(const std::string& group) const;

    bool version2_ = false;
    std::string place_;               ///< "/aegis/<name>"
    std::vector<std::string> roots_;  ///< ours, one for each of cpu, memory, pids; one on version 2
};

/// Where the hierarchies are mounted, by /proc/mounts' text: three paths (cpu, memory, pids), or
/// one of version 2, which may still lack controllers. Empty: neither. Pure.
struct CgroupLayout {
    bool version2 = false;
    std::vector<std::string> hierarchies;
};
CgroupLayout cgroupLayout(const std::string& proc_mounts);

}  // namespace aegis::os
