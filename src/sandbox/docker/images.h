#pragma once

#include <map>
#include <mutex>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "ports/sandbox.h"
#include "sandbox/docker/engine.h"

namespace aegis::sandbox {

/// Finds the image that a manifest names, under its pull policy ("Always", "IfNotPresent", "Never";
/// empty is IfNotPresent). A name that ends in ".tar" is a `docker save` archive on this machine,
/// loaded once for as long as the file does not change. Images of the `aegis/` repository are made
/// on this machine and never fetched: the name belongs to somebody else in a public registry. Any
/// thread.
class Images {
  public:
    explicit Images(Engine& engine) : engine_(engine) {}

    /// Pulls or loads where that is needed. kNotFound with a hint when it cannot be had.
    Result<ImageInfo> resolve(const std::string& image, const std::string& policy,
                              Deadline deadline);

    /// Whether resolve() has a chance, without pulling. An archive is loaded: what is wrong with it
    /// is better known before an execution needs it.
    Result<ports::ImageFacts> check(const std::string& image, const std::string& policy,
                                    Deadline deadline);

  private:
    Result<std::string> loadArchive(const std::string& path, Deadline deadline);

    Engine& engine_;
    std::mutex mutex_;  // held while loading: a second start waits for the first one's archive
    std::map<std::string, std::string> loaded_;  // the file's identity -> reference
};

}  // namespace aegis::sandbox
