#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ports/sandbox.h"

namespace aegis::sandbox {

/// A directory (or regular file) of the host and where the sandbox sees it.
struct HostMount {
    std::string source;
    std::string target;
    bool read_only = true;
    bool operator==(const HostMount&) const = default;
};

/// Makes the listed directories that do not exist, owned by 1000:1000, and finds the host's path of
/// every grant. Nothing below a volume's root is trusted: code of an earlier iteration may have
/// left symbolic links there, so each path is resolved beneath the root without following any
/// (openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV); one that would leave it
/// is kPermissionDenied. The engine resolves the returned path a second time: nobody can change it
/// in between, as a volume is attached to one execution, whose sandboxes follow one another. A
/// read-only grant of what does not exist is left out: it grants nothing. Blocks on the file
/// system.
Result<std::vector<HostMount>> resolveMounts(const ports::SandboxSpec& spec);

}  // namespace aegis::sandbox
