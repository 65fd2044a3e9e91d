#include "cli/local_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>

#include "os/files.h"

namespace aegis::cli {
namespace {

Error exists(const std::string& path) {
    return {ErrorCode::kConflict, fmt::format("{} exists already", path), "--yes replaces it"};
}

/// A local path that cannot be used is the user's to mend (exit 2), but for a full disk.
Error localError(int err, const std::string& path) {
    auto error = errnoError(err, path);
    if (error.code != ErrorCode::kStorageFull) error.code = ErrorCode::kInvalid;
    return error;
}

}  // namespace

Result<LocalFile> LocalFile::create(std::string path, bool replace) {
    if (!replace && ::faccessat(AT_FDCWD, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return exists(path);
    LocalFile out(std::move(path), replace);
    out.part_ = fmt::format("{}.{}.part", out.path_, ::getpid());
    out.fd_.reset(::open(out.part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!out.fd_) {
        auto error = localError(errno, out.path_);
        out.part_.clear();
        return error;
    }
    return out;
}

LocalFile::LocalFile(LocalFile&& other) noexcept
    : path_(std::move(other.path_)),
      part_(std::exchange(other.part_, {})),
      replace_(other.replace_),
      fd_(std::move(other.fd_)),
      bytes_(other.bytes_) {}

LocalFile::~LocalFile() {
    if (!part_.empty()) ::unlink(part_.c_str());
}

Status LocalFile::write(std::string_view bytes) {
    AEGIS_CHECK(os::writeAll(fd_.get(), bytes));
    bytes_ += bytes.size();
    return {};
}

Status LocalFile::finish() {
    unsigned flags = replace_ ? 0 : RENAME_NOREPLACE;
    if (::renameat2(AT_FDCWD, part_.c_str(), AT_FDCWD, path_.c_str(), flags) != 0)
        return errno == EEXIST ? exists(path_) : localError(errno, path_);
    part_.clear();
    return {};
}

Result<std::uint64_t> downloadTo(const std::string& path, bool replace,
                                 const std::function<Status(const service::DownloadSink&)>& get) {
    std::optional<LocalFile> file;
    Status local;
    std::uint64_t bytes = 0;
    auto begin = [&](const service::DownloadHead&) {
        if (path == "-") return true;
        auto made = LocalFile::create(path, replace);
        if (!made) local = made.error();
        if (made) file.emplace(std::move(*made));
        return local.has_value();
    };
    auto piece = [&](std::string_view text) {
        local = file ? file->write(text) : os::writeAll(STDOUT_FILENO, text);
        bytes += text.size();
        return local.has_value();
    };
    auto got = get({begin, piece});
    if (!local) return local.error();
    if (!got) return got.error();
    if (file) AEGIS_CHECK(file->finish());
    return bytes;
}

}  // namespace aegis::cli
