#pragma once

#include <string>

#include "base/result.h"
#include "base/time.h"

namespace aegis::volume {

/// Mounts `image` at `target` (an existing directory) through a loop device that frees itself with
/// the mount: nosuid, nodev, noatime. Already mounted there is success. Any thread.
Status mountImage(const std::string& image, const std::string& target);

/// Unmounts `target`. While something still uses it this waits, at most until `deadline` (and 5 s),
/// then detaches it lazily with a line in the log. Not mounted, or missing, is success. Blocks.
Status unmountImage(const std::string& target, Deadline deadline);

}  // namespace aegis::volume
