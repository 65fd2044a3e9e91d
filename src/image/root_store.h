#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "image/base_image.h"
#include "image/records.h"
#include "image/unpack.h"
#include "ports/root_images.h"

namespace aegis::image {

/// Images unpacked to root directories, by digest, below one directory: `sha256/<hex>/root` with
/// `image.json` beside it, and `names/` with what they are called. Several processes may use it at
/// once; what is complete appears in one step. Any thread; calls block.
class RootStore final : public ports::RootImages, public ImageSink {
  public:
    explicit RootStore(std::string directory, UnpackOptions options = {},
                       std::unique_ptr<ports::ImageOrigin> origin = {});

    /// An absolute path that ends in ".tar", or is a directory, is an archive or an OCI layout: it
    /// is unpacked at its first use, and again when the file has changed. A name is looked for at
    /// the origin, and what it means there is unpacked if it is not yet; a base image that was
    /// unpacked here comes first.
    Result<ports::RootImage> resolve(const std::string& image) override;

    /// What is being fetched from the origin ends, for the end of the process.
    void stop();

    /// A root file system as one layer under this name. ENV and WORKDIR of `changes` are kept.
    Status importTar(std::string_view reference, int tar_fd,
                     const std::vector<std::string>& changes, Deadline deadline) override;

    /// A `docker save` archive or an OCI layout (a directory, or an archive of one): every digest
    /// that it states is checked. Of several images the first, of several machines this one.
    Result<ports::RootImage> load(const std::string& path);

  private:
    struct Staged;
    Result<ports::RootImage> find(const std::string& digest) const;
    Result<std::string> named(const std::string& name) const;
    Result<ports::RootImage> unpacked(const std::string& name) const;
    Status setName(const std::string& name, const std::string& digest) const;
    Result<Staged> stage() const;
    Status publish(const Staged& staged, const ports::RootImage& image) const;
    Result<ports::RootImage> loadLayout(int layout, const std::string& name);
    Result<ports::RootImage> fetched(const std::string& image);

    const std::string directory_;
    const UnpackOptions options_;
    const std::unique_ptr<ports::ImageOrigin> origin_;
    const Records records_;
    std::mutex fetching_;  // a second sandbox waits for the first one's image
};

}  // namespace aegis::image
