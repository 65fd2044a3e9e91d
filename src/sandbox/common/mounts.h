#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "ports/sandbox.h"

namespace aegis::sandbox {

/// A directory (or regular file) of the host and where the sandbox sees it.
struct HostMount {
    std::string source;
    std::string target;
    bool read_only = true;
    bool operator==(const HostMount&) const = default;
};

/// The same as an O_PATH descriptor of the very thing that was checked.
struct OpenMount {
    os::Fd entry;
    HostMount mount;
    bool directory = true;
};

/// Makes the listed directories that do not exist, owned by 1000:1000, and opens what every grant
/// is about. Nothing below a volume's root is trusted: code of an earlier iteration may have left
/// symbolic links there, so each path is resolved beneath the root without following any
/// (openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV); one that would leave it
/// is kPermissionDenied. A read-only grant of what does not exist is left out: it grants nothing.
/// Blocks on the file system.
Result<std::vector<OpenMount>> openMounts(const ports::SandboxSpec& spec);

/// A detached copy, to be mounted elsewhere: nosuid, nodev, and read-only if granted so.
Result<os::Fd> cloneMount(const OpenMount& one);

/// The paths alone, for one who resolves them a second time: nobody can change them in between, as
/// a volume is attached to one execution, whose sandboxes follow one another.
std::vector<HostMount> hostMounts(const std::vector<OpenMount>& mounts);

}  // namespace aegis::sandbox
