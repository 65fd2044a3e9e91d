#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "base/result.h"
#include "os/fd.h"

/// Mounts as descriptors (Linux 5.2: open_tree, fsopen, move_mount; 5.12: mount_setattr). A tree
/// that is attached nowhere is gone when its last descriptor is closed. `attributes` are
/// MOUNT_ATTR_* of <sys/mount.h>. Errors name `what`.
namespace aegis::os {

/// A detached copy of what is mounted at `fd` (an O_PATH descriptor of a directory or a file), with
/// these attributes set, private. Not recursive: mounts below it are left out.
Result<Fd> cloneTree(int fd, std::uint64_t attributes, const std::string& what);
/// The same of a path below `dir_fd`.
Result<Fd> cloneTreeAt(int dir_fd, const char* path, std::uint64_t attributes);
/// With what is mounted below, as the kernel wants it where that came from another user namespace:
/// nobody shall see what lies beneath it.
Result<Fd> cloneWholeTree(const char* path);

/// A new, detached file system. An empty value is a flag.
using MountOption = std::pair<const char*, std::string>;
Result<Fd> newFileSystem(const char* type, std::initializer_list<MountOption> options,
                         std::uint64_t attributes);

/// Changes options of the file system that is mounted at `fd`, an O_PATH descriptor of its root.
Status reconfigure(int fd, std::initializer_list<MountOption> options, const std::string& what);

/// Attaches a detached tree on top of `target_fd`, or of `path` below it.
Status attachTree(int tree, int target_fd, const std::string& what);
Status attachTreeAt(int tree, int dir_fd, const char* path);

/// Makes the directory `root` (a mount's root) the calling process's root directory and takes the
/// old one out of sight.
Status pivotTo(int root);

}  // namespace aegis::os
