#pragma once

#include <string>

#include "base/result.h"

/// The part of the cgroup v2 tree that is given to an ordinary user to do with as he likes
/// (systemd: Delegate=yes).
namespace aegis::os {

/// The directory of this process's cgroup, if its user may make groups with limits there. Errors
/// (kUnsupported) name what is missing. Changes nothing.
Result<std::string> delegatedCgroup();

/// The same with the places of things given, for tests: texts of /proc/mounts and
/// /proc/self/cgroup.
Result<std::string> delegatedCgroupIn(const std::string& proc_mounts,
                                      const std::string& proc_self_cgroup);

/// A group that limits others may have no process itself: moves those of `directory` to one below.
/// What is started there finds `directory` again by delegatedCgroup().
Status makeRoomIn(const std::string& directory);

}  // namespace aegis::os
