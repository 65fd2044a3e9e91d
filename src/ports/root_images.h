#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace aegis::ports {

/// An image unpacked on this machine.
struct RootImage {
    std::string digest;            ///< "sha256:…"; what lies at `root` never changes
    std::string root;              ///< a directory that outlives every sandbox made of it
    std::vector<std::string> env;  ///< NAME=value
    std::string working_dir;
    bool declares_command = false;  ///< an ENTRYPOINT or CMD, which a sandbox does not run
};

/// Images as root directories, for a runtime that needs no container engine. Any thread.
class RootImages {
  public:
    virtual ~RootImages() = default;
    /// `image` is a name that was unpacked under it, or the absolute path of a `docker save`
    /// archive or an OCI layout, which is unpacked now if it is not yet (blocks). kNotFound with a
    /// hint.
    virtual Result<RootImage> resolve(const std::string& image) = 0;
};

/// Another keeper of images on this machine (a container engine). Any thread.
class ImageOrigin {
  public:
    virtual ~ImageOrigin() = default;
    /// What tells the image that has this name now from any other. Called before each use of the
    /// name: it must be quick. kNotFound, or another error when it cannot be asked.
    virtual Result<std::string> identity(const std::string& image) = 0;
    /// Writes a `docker save` archive of the image with this identity, at most `limit` bytes.
    /// Blocks.
    virtual Status save(const std::string& identity, int fd, std::uint64_t limit) = 0;
    /// Ends what is under way, and every later call, with kCancelled.
    virtual void stop() = 0;
};

}  // namespace aegis::ports
