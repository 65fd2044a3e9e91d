#pragma once

#include <functional>
#include <string>

#include "tools/fs/view.h"

namespace aegis::tools {

/// One entry that a walk comes to.
struct Entry {
    int dir;  ///< its directory, O_PATH or better
    std::string name;
    std::string relative;  ///< below where the walk began, without a leading slash
    struct stat stat{};    ///< not followed
};

/// Visits what is in `dir` (open for reading) in order of name, and with `recursive` in the
/// directories below, parents first, at most 32 deep. Links are visited, never followed; other
/// mounts than granted ones are not entered. `visit` returns false to stop. At most 100,000 entries
/// and until `deadline`.
Status walk(const SandboxView& view, const os::Fd& dir, bool recursive, Deadline deadline,
            const std::function<bool(const Entry&)>& visit);

}  // namespace aegis::tools
