#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"

namespace aegis::volume {

/// The file system in `image`, mounted nowhere: it lives with the descriptor, through a loop device
/// that frees itself with it. nosuid, nodev, noatime, and `attributes` (MOUNT_ATTR_*) on top.
/// `fresh`: the image has never been on a device. Any thread.
Result<os::Fd> openImage(const std::string& image, bool fresh, std::uint64_t attributes = 0);

/// Mounts `image` at `target` (an existing directory). Already mounted there is success. Any
/// thread.
Status mountImage(const std::string& image, const std::string& target);

/// Unmounts `target`. While something still uses it this waits, at most until `deadline` (and 5 s),
/// then detaches it lazily with a line in the log. Not mounted, or missing, is success. Blocks.
Status unmountImage(const std::string& target, Deadline deadline);

/// Takes what is mounted at `target` out of sight, used or not, and quickly: the file system ends
/// when the descriptor is closed, which writes back what is left. Empty: nothing was mounted.
Result<os::Fd> takeOff(const std::string& target);

}  // namespace aegis::volume
