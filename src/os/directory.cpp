#include "os/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "os/resolve.h"

namespace aegis::os {
namespace {

constexpr std::size_t kMaxTarget = 4096;

DirectoryEntry entryOf(int dir, const char* name, const struct stat& st) {
    DirectoryEntry entry;
    entry.name = name;
    entry.size = static_cast<std::uint64_t>(st.st_size);
    entry.modified.ms =
        static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1000 + st.st_mtim.tv_nsec / 1'000'000;
    if (S_ISREG(st.st_mode)) entry.kind = DirectoryEntry::Kind::kFile;
    if (S_ISDIR(st.st_mode)) entry.kind = DirectoryEntry::Kind::kDirectory;
    if (S_ISLNK(st.st_mode)) {
        entry.kind = DirectoryEntry::Kind::kLink;
        entry.target.resize(kMaxTarget);
        auto n = ::readlinkat(dir, name, entry.target.data(), entry.target.size());
        entry.target.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    }
    return entry;
}

}  // namespace

Result<std::vector<DirectoryEntry>> listDirectory(int fd, std::size_t most) {
    AEGIS_TRY(Fd readable, reopen(fd, O_RDONLY | O_DIRECTORY | O_NONBLOCK));
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(readable.get()), &::closedir);
    if (!dir) return errnoError(errno, "opendir");
    readable.release();  // closedir() closes it
    std::vector<DirectoryEntry> out;
    errno = 0;
    while (dirent* found = ::readdir(dir.get())) {
        if (std::strcmp(found->d_name, ".") == 0 || std::strcmp(found->d_name, "..") == 0) continue;
        if (out.size() >= most)
            return {ErrorCode::kTooLarge,
                    fmt::format("the directory has more than {} entries", most)};
        struct stat st{};
        // One that has gone meanwhile is not there.
        if (::fstatat(::dirfd(dir.get()), found->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            out.push_back(entryOf(::dirfd(dir.get()), found->d_name, st));
        errno = 0;
    }
    if (errno != 0) return errnoError(errno, "readdir");
    std::ranges::sort(out, {}, &DirectoryEntry::name);
    return out;
}

}  // namespace aegis::os
