#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::os {

/// umount2(2) without following a link. What is not mounted is success; kConflict while busy.
Status unmount(const std::string& target);

/// The last resort (MNT_DETACH): out of sight at once, gone when the last user is.
Status detachMount(const std::string& target);

/// A mount of its own of what is at `path`: read-only, no set-uid, no devices, no programs, seen by
/// nobody else, gone with the descriptor (also when the process is killed). What is mounted at
/// `path` may be unmounted meanwhile.
Result<Fd> cloneReadOnly(const std::string& path);

/// Whether something is mounted at `path` itself. A missing path is kNotFound.
Result<bool> isMountPoint(const std::string& path);

/// The kernel's id of the mount that `fd` lives on; tells mounts of one file system apart.
Result<std::uint64_t> mountIdOf(int fd);
/// The same for `name` in directory `dir_fd`, not followed if a link.
Result<std::uint64_t> mountIdAt(int dir_fd, const char* name);

/// Room on a mounted file system.
struct Space {
    std::uint64_t block_bytes = 0;
    std::uint64_t total_bytes = 0;
    std::uint64_t free_bytes = 0;       ///< unused
    std::uint64_t available_bytes = 0;  ///< unused and not reserved for the kernel
    std::uint64_t free_inodes = 0;
    std::uint64_t used() const { return total_bytes - free_bytes; }
};
Result<Space> spaceOf(const std::string& path);

/// syncfs(2): everything of the file system at `path` is on its disk afterwards.
Status syncFileSystem(const std::string& path);

}  // namespace aegis::os
