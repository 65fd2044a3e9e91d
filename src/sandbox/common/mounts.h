#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "ports/sandbox.h"

namespace aegis::sandbox {

/// A directory (or regular file) of the host, as an O_PATH descriptor of the very thing that was
/// checked, and where the sandbox sees it.
struct OpenMount {
    os::Fd entry;
    std::string target;
    bool read_only = true;
    bool directory = true;
};

/// Makes the listed directories that do not exist, owned by 1000:1000, and opens what every grant
/// is about. Nothing below a volume's root is trusted: code of an earlier iteration may have left
/// symbolic links there, so each path is resolved beneath the root without following any
/// (openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV); one that would leave it
/// is kPermissionDenied. A read-only grant of what does not exist is left out: it grants nothing.
/// A place within a writable grant is made if it is not there; within a read-only one that is
/// kNotFound. The outer ones come first. Blocks on the file system.
Result<std::vector<OpenMount>> openMounts(const ports::SandboxSpec& spec);

/// A detached copy, to be mounted elsewhere: nosuid, nodev, and read-only if granted so.
Result<os::Fd> cloneMount(const OpenMount& one);

/// The grant in which the place of `one` lies; null: it is a place of the image's.
const OpenMount* around(const std::vector<OpenMount>& mounts, const OpenMount& one);

}  // namespace aegis::sandbox
