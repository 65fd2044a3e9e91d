#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace aegis::launcher {

/// The kernel's Landlock ABI; 0: it has none.
int landlockAbi();

/// A second wall under the mounts: from here on this process changes files nowhere but below these
/// directories (or in these files), whatever the mounts say. Reading is not restricted. Does
/// nothing where the kernel has no Landlock. Needs no-new-privileges.
struct WritablePlace {
    std::string path;
    bool directory = true;
};
Status restrictWrites(const std::vector<WritablePlace>& places);

}  // namespace aegis::launcher
