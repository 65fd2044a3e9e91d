#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::os {

/// A block device backed by a file. It clears itself when nothing has it open or mounted any more
/// (LO_FLAGS_AUTOCLEAR): keep `fd` until it is mounted.
struct LoopDevice {
    Fd fd;
    std::string path;  ///< "/dev/loop7"
};

/// Attaches `image` to a free loop device, with direct I/O where the file system of `image` can.
Result<LoopDevice> attachLoop(const std::string& image);

/// The loop device that already has `image` (a mount in another namespace may keep one alive).
/// Mounting an image through two devices would destroy it.
Result<std::optional<LoopDevice>> findLoop(const std::string& image);

/// Whether this process can get a loop device; the error's hint says what to do.
Status loopAvailable();

}  // namespace aegis::os
