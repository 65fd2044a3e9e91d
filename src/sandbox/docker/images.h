#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>

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
    ~Images();

    /// From now on a thread listens to what the engine tells of its images, so that what is known
    /// of one need not be asked again for each sandbox. Not after Engine::stop().
    void watch();

    /// Pulls or loads where that is needed. kNotFound with a hint when it cannot be had.
    Result<ImageInfo> resolve(const std::string& image, const std::string& policy,
                              Deadline deadline);

    /// Whether resolve() has a chance, without pulling. An archive is loaded: what is wrong with it
    /// is better known before an execution needs it.
    Result<ports::ImageFacts> check(const std::string& image, const std::string& policy,
                                    Deadline deadline);

  private:
    Result<std::string> loadArchive(const std::string& path, Deadline deadline);
    Result<ImageInfo> inspect(const std::string& image, Deadline deadline);
    void listen();
    void forget(bool listening);

    Engine& engine_;
    std::mutex mutex_;  // held while loading: a second start waits for the first one's archive
    std::map<std::string, std::string> loaded_;  // the file's identity -> reference

    std::mutex known_mutex_;
    std::condition_variable wake_;
    std::map<std::string, ImageInfo> known_;  // by reference; empty unless listening_
    std::uint64_t changes_ = 0;
    bool listening_ = false;
    bool stopping_ = false;
    std::thread listener_;
};

}  // namespace aegis::sandbox
