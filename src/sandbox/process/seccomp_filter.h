#pragma once

#include <string>

#include "base/result.h"

namespace aegis::sandbox {

/// The filter of sandbox/common/syscalls.h as a BPF program for this machine: sock_filter structs
/// as they lie in memory. Takes some 10 ms: to be made once.
Result<std::string> seccompFilter();

}  // namespace aegis::sandbox
