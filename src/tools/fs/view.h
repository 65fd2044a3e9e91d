#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <set>
#include <span>
#include <string>

#include "base/time.h"
#include "os/fd.h"
#include "tools/fs/policy.h"

namespace aegis::tools {

/// What became of a system call on a guest's file, in words for the model; `verb` is "read" or
/// "write".
Error fsError(int err, std::string_view verb);
/// kPermissionDenied: "not allowed by security.filesystem.<verb>".
Error notAllowed(std::string_view verb);

/// An object that was checked to be on a granted mount, held by an O_PATH descriptor.
struct Found {
    os::Fd fd;
    struct stat stat{};
};

/// A name in a directory on a writable mount. The name itself is no link when it was looked at; all
/// that is done with it must not follow one.
struct Target {
    os::Fd parent;
    std::string name;
    std::string path;  ///< where the links led, for messages
    bool exists = false;
    struct stat stat{};
};

/// The file system as one sandbox sees it. Made for one call; its functions block on the disk and
/// must run on a thread with the sandbox user's file identity. All paths are normalised.
class SandboxView {
  public:
    /// For the tools: the image, the grants of `policy` and /tmp. `root` must outlive the view.
    static Result<SandboxView> forTools(int root, const FsPolicy& policy);
    /// For validators: any mount but the kernel's and the runtime's own.
    static Result<SandboxView> forValidators(int root);

    /// Follows links, as the sandbox would.
    Result<Found> find(const std::string& path) const;
    /// A directory, its parents too, made if missing.
    Result<os::Fd> makeDirs(const std::string& path) const;
    /// The place to write `path`: links in it are followed, its last one too unless `keep_link`.
    /// `make_parents` makes the directories above it.
    Result<Target> target(const std::string& path, bool make_parents, bool keep_link) const;

    Status checkReadable(int fd) const;
    Status checkWritable(int fd) const;
    bool isReadableMount(std::uint64_t mount_id) const;

  private:
    explicit SandboxView(int root) : root_(root) {}
    Status addMount(const std::string& path, std::set<std::uint64_t>& into);

    int root_;
    std::uint64_t root_mount_ = 0;
    bool only_listed_ = true;
    std::set<std::uint64_t> readable_, writable_, hidden_;
};

/// The bytes of a regular file, at most `limit` (kTooLarge beyond), within `deadline`.
Result<std::string> readWhole(const Found& file, std::uint64_t limit, Deadline deadline);

/// A regular file for reading, of what `find` gave; refuses everything else by what it is.
Result<os::Fd> openRegular(const Found& file);
Result<os::Fd> openDirectory(const Found& dir);

/// Whether the deadline has passed, as an error.
Status checkTime(Deadline deadline);

/// The next bytes of a file into `chunk`; 0 at its end.
Result<std::size_t> readChunk(int fd, std::span<char> chunk, Deadline deadline);

}  // namespace aegis::tools
