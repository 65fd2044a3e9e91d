#include "store/sqlite/wal_space.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "os/files.h"

namespace aegis::store {
namespace {

/// The disk must have so many times as much.
constexpr std::uint64_t kAplenty = 20;
constexpr std::int64_t kPieceBytes = 256 << 10;

bool hasRoom(int fd) {
    struct statvfs st{};
    return ::fstatvfs(fd, &st) == 0 &&
           static_cast<std::uint64_t>(st.f_bavail) * st.f_frsize >= kAplenty * kWalBytes;
}

}  // namespace

void growWal(Database& db) {
    const char* name = ::sqlite3_db_filename(db.handle(), "main");
    if (name == nullptr || *name == '\0') return;
    // Its locks are on other files, so that closing this one loses none of SQLite's.
    auto fd = os::openFile(::sqlite3_filename_wal(name), O_WRONLY | O_NOFOLLOW);
    struct stat st{};
    if (!fd || ::fstat(fd->get(), &st) != 0 || st.st_size >= kWalBytes || !hasRoom(fd->get()))
        return;
    const std::string zeros(kPieceBytes, '\0');
    for (std::int64_t at = st.st_size; at < kWalBytes;) {
        auto n = ::pwrite(fd->get(), zeros.data(),
                          static_cast<std::size_t>(std::min(kPieceBytes, kWalBytes - at)), at);
        if (n <= 0) {
            (void)!::ftruncate(fd->get(), st.st_size);
            return;
        }
        at += n;
    }
    (void)::fdatasync(fd->get());
}

}  // namespace aegis::store
