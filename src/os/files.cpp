#include "os/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace aegis::os {
namespace {

Status removeEntries(int dir_fd, dev_t device);

Status removeEntry(int dir_fd, const char* name, dev_t device) {
    struct stat st {};
    if (::fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? Status{} : Status{errnoError(errno, name)};
    if (!S_ISDIR(st.st_mode)) {
        if (::unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT) return errnoError(errno, name);
        return {};
    }
    if (st.st_dev != device)
        return {ErrorCode::kConflict, fmt::format("{}: is a mount point", name)};
    Fd child(::openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child) return errno == ENOENT ? Status{} : Status{errnoError(errno, name)};
    AEGIS_CHECK(removeEntries(child.get(), device));
    if (::unlinkat(dir_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return errnoError(errno, name);
    return {};
}

Status removeEntries(int dir_fd, dev_t device) {
    DIR* dir = ::fdopendir(::dup(dir_fd));
    if (dir == nullptr) return errnoError(errno, "opendir");
    Status status;
    while (dirent* entry = ::readdir(dir)) {
        if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
        status = removeEntry(dir_fd, entry->d_name, device);
        if (!status) break;
    }
    ::closedir(dir);
    return status;
}

std::string parentOf(const std::string& path) {
    auto slash = path.find_last_of('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<Fd> openFile(const std::string& path, int flags, unsigned mode) {
    Fd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
    if (!fd) return errnoError(errno, path);
    return fd;
}

Result<std::string> readAll(int fd, std::uint64_t limit, std::string_view name) {
    std::string out;
    std::array<char, 65536> chunk{};
    while (true) {
        ssize_t n = ::read(fd, chunk.data(), chunk.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errnoError(errno, name);
        if (n == 0) return out;
        if (out.size() + static_cast<std::size_t>(n) > limit)
            return {ErrorCode::kTooLarge, fmt::format("{}: is larger than {} bytes", name, limit)};
        out.append(chunk.data(), static_cast<std::size_t>(n));
    }
}

Result<std::string> readFile(const std::string& path, std::uint64_t limit) {
    AEGIS_TRY(Fd fd, openFile(path, O_RDONLY));
    return readAll(fd.get(), limit, path);
}

Status writeAll(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errnoError(errno, "write");
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

Status writeFileAtomic(const std::string& path, std::string_view bytes, unsigned mode) {
    auto temporary = fmt::format("{}.tmp.{}", path, ::getpid());
    auto written = [&]() -> Status {
        AEGIS_TRY(Fd fd, openFile(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode));
        AEGIS_CHECK(writeAll(fd.get(), bytes));
        if (::fsync(fd.get()) != 0) return errnoError(errno, temporary);
        if (::rename(temporary.c_str(), path.c_str()) != 0) return errnoError(errno, path);
        return {};
    }();
    if (!written) {
        ::unlink(temporary.c_str());
        return written;
    }
    AEGIS_TRY(Fd dir, openFile(parentOf(path), O_RDONLY | O_DIRECTORY));
    if (::fsync(dir.get()) != 0) return errnoError(errno, parentOf(path));
    return {};
}

Status makeDirs(const std::string& path, unsigned mode) {
    for (std::size_t at = 1; at <= path.size(); ++at) {
        if (at != path.size() && path[at] != '/') continue;
        auto prefix = path.substr(0, at);
        if (::mkdir(prefix.c_str(), mode) != 0 && errno != EEXIST)
            return errnoError(errno, prefix);
    }
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) return errnoError(errno, path);
    if (!S_ISDIR(st.st_mode)) return errnoError(ENOTDIR, path);
    return {};
}

Status removeTree(const std::string& path) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0)
        return errno == ENOENT ? Status{} : Status{errnoError(errno, path)};
    return removeEntry(AT_FDCWD, path.c_str(), st.st_dev);
}

}  // namespace aegis::os
