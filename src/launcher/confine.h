#pragma once

#include <string>

#include "base/result.h"

/// What a process gives up before it runs a guest's program. Each for the calling process, for
/// good.
namespace aegis::launcher {

/// Descriptors, core dumps, the kernel's choice when memory runs out.
Status setLimits();
/// No new privileges, no capability in any set, user and group 1000 and no other group.
Status dropPrivileges();
/// Standard descriptors are /dev/null, and from `first` on there is none.
Status closeDescriptors(unsigned first = 3);
/// `filter`: sock_filter structs as they lie in memory.
Status installFilter(const std::string& filter);

}  // namespace aegis::launcher
