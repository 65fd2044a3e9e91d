#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::launcher {

/// Files of an image belong on disk to kImageIdBase + their owner, and look inside as the image
/// says. Beyond the ranges that login.defs and systemd hand out. Only the sandbox's user is itself:
/// what it writes in a volume belongs to 1000:1000 on the host too.
inline constexpr uid_t kImageIdBase = 0x70000000;
inline constexpr uid_t kGuestId = 1000;
inline constexpr uid_t kIdCount = 65536;

/// A process made by clone3(2) in fresh user, pid, mount, network, ipc, uts and cgroup namespaces.
struct Clone {
    pid_t pid = -1;  ///< 0 in the new process
    os::Fd pidfd;    ///< in the parent
};
/// Returns twice. The new process is PID 1 and waits in awaitIdentity() for its id maps.
/// `cgroup` is a cgroup v2 directory to be born in, or -1. kUnsupported when the kernel refuses
/// such namespaces.
Result<Clone> cloneIntoNamespaces(int cgroup);

/// In a process with one thread: goes through the doors of its cgroup v1 (os/cgroup.h, entrance).
Status enterCgroup(std::vector<os::Fd> doors);

/// In the parent: writes the id maps of `child` (the sandbox's ids 0 to 65535), with `doors` also
/// the users that a template's stems enter their cgroups as.
Status mapIdentity(pid_t child, bool doors);

/// In any process with rights over the template's user namespace: writes the maps of a stem of it,
/// the same ids as the template's, and one `door`, or none (proto/launch.h). Enters that namespace,
/// for good; for a process of its own.
Status mapStem(int template_pidfd, pid_t stem, std::uint32_t door);

/// In the new process, which its doors then let in.
Status becomeDoorUser();

/// In the new process, once it has its maps: becomes the owner of the sandbox (user 0 inside).
Status becomeOwner();

/// In the new process: its host name, and the loopback interface up.
Status nameAndRaise();

/// In the owner of a network namespace: gives those that will be made from within it small tables
/// of connections of their own. Else they share the host's, which is megabytes, and the kernel
/// looks through all of it whenever one of them goes. Where that cannot be had (before Linux 6.1, a
/// /proc that is read-only) they do: nothing but time depends on it.
void shrinkConnectionTables();

/// In the new process, once it is where it belongs: shows it its cgroup as the root of them all.
Status hideCgroups();

}  // namespace aegis::launcher
