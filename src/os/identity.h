#pragma once

#include <sys/types.h>

#include "base/result.h"

namespace aegis::os {

/// Makes the calling thread, and it alone, touch files as `uid`:`gid` for the rest of its life: no
/// supplementary groups, no capability in any set, its own umask (022) and working directory. The
/// process's other threads keep theirs. On failure the thread must touch no file of a guest's.
Status takeFileIdentity(uid_t uid, gid_t gid);

}  // namespace aegis::os
