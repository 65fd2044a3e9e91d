#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace aegis::image {

/// Where a finished root file system goes: a container engine, by the wiring.
class ImageSink {
  public:
    virtual ~ImageSink() = default;
    /// Makes the image `reference` ("aegis/python:3.11") from an uncompressed tar archive that
    /// stands at its beginning, replacing an older one of that name. `changes` are Dockerfile
    /// instructions.
    virtual Status importTar(std::string_view reference, int tar_fd,
                             const std::vector<std::string>& changes, Deadline deadline) = 0;
};

struct BuildOptions {
    std::string recipe_dir;             ///< holds build.sh and the recipes
    std::string work_dir = "/var/tmp";  ///< takes the archive, some 150 MiB, until it is imported
    Deadline deadline;
    /// Gets the build's progress text as it comes.
    std::function<void(std::string_view text)> progress;
};

/// A base image that a recipe exists for.
struct BaseImage {
    std::string language;
    std::string version;
    std::string reference() const { return "aegis/" + language + ":" + version; }
    bool operator==(const BaseImage&) const = default;
};

/// All recipes below `recipe_dir`, sorted.
Result<std::vector<BaseImage>> listBaseImages(const std::string& recipe_dir);

/// Builds and imports one; returns its reference. kNotFound names the recipes there are;
/// kUnsupported when the machine lacks the programs (the hint says which to install). On failure
/// the sink was not called or refused, and nothing is left in `work_dir`. Blocks.
Result<std::string> buildBaseImage(std::string_view language, std::string_view version,
                                   const BuildOptions& options, ImageSink& sink);

}  // namespace aegis::image
