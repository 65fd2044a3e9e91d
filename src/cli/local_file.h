#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/fd.h"
#include "service/service.h"

namespace aegis::cli {

/// A file that a download goes to: under its own name only when it is whole, else nothing is left.
/// One thread.
class LocalFile {
  public:
    /// kConflict if `path` exists and must not be replaced.
    static Result<LocalFile> create(std::string path, bool replace);
    LocalFile(LocalFile&&) noexcept;
    LocalFile& operator=(LocalFile&&) = delete;
    ~LocalFile();

    Status write(std::string_view bytes);
    Status finish();
    std::uint64_t bytes() const { return bytes_; }

  private:
    LocalFile(std::string path, bool replace) : path_(std::move(path)), replace_(replace) {}
    std::string path_, part_;
    bool replace_;
    os::Fd fd_;
    std::uint64_t bytes_ = 0;
};

/// Takes a whole download into a file, or to stdout for "-"; the file's size. `get` is called with
/// the sink.
Result<std::uint64_t> downloadTo(const std::string& path, bool replace,
                                 const std::function<Status(const service::DownloadSink&)>& get);

}  // namespace aegis::cli
