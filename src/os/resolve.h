#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::os {

/// openat2(2) with `root` as the root directory: "..", absolute links and absolute paths stay
/// inside it, magic links (/proc/*/fd and the like) are refused. `resolve` adds RESOLVE_* flags.
/// O_CLOEXEC is added. The error's text is the bare strerror in lower case: callers name the path
/// as their user knows it.
Result<Fd> openInRoot(int root, const std::string& path, std::uint64_t flags,
                      std::uint64_t resolve = 0);

/// One component below `dir_fd`, never following a link.
Result<Fd> openChild(int dir_fd, const std::string& name, std::uint64_t flags);

/// Opens what an O_PATH descriptor stands for, and nothing else, with other flags.
Result<Fd> reopen(int path_fd, int flags);

}  // namespace aegis::os
