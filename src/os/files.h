#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::os {

/// open(2) with O_CLOEXEC added. Errors name the path.
Result<Fd> openFile(const std::string& path, int flags, unsigned mode = 0);

/// The whole file, at most `limit` bytes (kTooLarge beyond; nothing is kept of a larger one).
Result<std::string> readFile(const std::string& path, std::uint64_t limit);

/// Everything until end of file from a descriptor, at most `limit` bytes (kTooLarge beyond).
Result<std::string> readAll(int fd, std::uint64_t limit, std::string_view name);

/// Writes all of `bytes`, going on after short writes and EINTR.
Status writeAll(int fd, std::string_view bytes);

/// Writes `path` so that after a crash it holds either the old or the new content whole: temporary
/// file beside it, fsync, rename, fsync of the directory.
Status writeFileAtomic(const std::string& path, std::string_view bytes, unsigned mode = 0600);

/// mkdir -p with `mode` for the directories it creates.
Status makeDirs(const std::string& path, unsigned mode = 0700);

/// rm -rf that never follows a symbolic link or leaves the file system of `path`. What is missing,
/// or goes meanwhile, is success.
Status removeTree(const std::string& path);

}  // namespace aegis::os
