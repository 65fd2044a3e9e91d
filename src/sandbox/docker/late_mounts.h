#pragma once

#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "sandbox/common/mounts.h"

namespace aegis::sandbox {

/// Mounts these, in their order, into the mount namespace of a process that runs already and is
/// still ours, where they look as if they had been there from its start (nosuid, nodev, read-only
/// where granted so). Links of the image's are followed within its root; in a volume lies what
/// hostile code left: a place there that is or passes a symbolic link is kPermissionDenied. After
/// an error some may be mounted. Blocks for a thread's life, which is less than a millisecond.
Status mountInto(pid_t pid, const os::Fd& pidfd, const std::vector<OpenMount>& mounts);

}  // namespace aegis::sandbox
