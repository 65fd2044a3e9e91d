#pragma once

#include <string>

#include "base/result.h"

namespace aegis::sandbox {

/// The filter of sandbox/common/syscalls.h as a BPF program for this machine: sock_filter structs
/// as they lie in memory. Takes some 10 ms: to be made once.
Result<std::string> seccompFilter();

/// The same for a template and its stems, until these install the one above as well: besides, what
/// it takes to make a sandbox of oneself. All of it is confined to a user namespace of its own.
Result<std::string> templateFilter();

}  // namespace aegis::sandbox
