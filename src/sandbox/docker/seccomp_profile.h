#pragma once

#include <string>

namespace aegis::sandbox {

/// The seccomp filter (sandbox/common/syscalls.h) as the JSON that Docker's `seccomp=` security
/// option takes. Pure; made once.
const std::string& seccompProfile();

}  // namespace aegis::sandbox
