#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace aegis::os {

/// One name in a directory; nothing is followed.
struct DirectoryEntry {
    enum class Kind : std::uint8_t { kFile, kDirectory, kLink, kOther } kind = Kind::kOther;
    std::string name;  ///< any bytes but '/' and NUL
    std::uint64_t size = 0;
    UtcTime modified;
    std::string target;  ///< of a link, at most 4 KiB
};

/// The entries of the directory that `fd` stands for (O_PATH will do), by name, without "." and
/// "..". kTooLarge beyond `most`. Blocks.
Result<std::vector<DirectoryEntry>> listDirectory(int fd, std::size_t most);

}  // namespace aegis::os
