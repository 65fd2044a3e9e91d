#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace aegis::image {

/// How much one image may be; whatever is beyond is kTooLarge.
struct UnpackLimits {
    std::uint64_t bytes = 32ULL << 30;
    std::uint64_t entries = 2'000'000;
};

/// Owners on disk: `id_base` + the archive's, but the sandbox's user 1000, which is itself. 0: all
/// belong to this process's user (tests without root).
struct UnpackOptions {
    UnpackLimits limits;
    std::uint32_t id_base = 0x70000000;  ///< launcher::kImageIdBase
};

/// Unpacks one layer, a tar archive (plain, gzip or zstd), over what is in the directory `root`:
/// ".wh.name" removes name, ".wh..wh..opq" what lower layers put in its directory. Nothing is
/// written outside `root` whatever the archive says: each path is resolved inside it as a root
/// directory, as a process there would. Set-uid bits, device nodes, pipes, sockets and extended
/// attributes are left out. Returns the bytes written. kInvalid: it is no such archive.
Result<std::uint64_t> unpackLayer(int tar_fd, int root, const UnpackOptions& options);

/// Takes the regular files of an archive apart that is a flat image (`docker save`, OCI layout):
/// only clean relative paths of files are kept. For reading, not for running.
Status unpackFiles(int tar_fd, int directory, const UnpackLimits& limits);

/// "sha256:…" of what follows in the file; gzip or zstd are undone first if `unpacked`. Leaves the
/// offset at the beginning.
Result<std::string> digestOf(int fd, bool unpacked);

}  // namespace aegis::image
