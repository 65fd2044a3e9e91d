#include "os/sparse_copy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "os/files.h"

namespace aegis::os {
namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;

Status copyRange(int from, int to, off_t at, off_t end, std::vector<char>& chunk) {
    while (at < end) {
        auto want = std::min<std::size_t>(chunk.size(), static_cast<std::size_t>(end - at));
        ssize_t n = ::pread(from, chunk.data(), want, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errnoError(errno, "pread");
        if (n == 0) return {ErrorCode::kIo, "the file became shorter while it was copied"};
        for (ssize_t done = 0; done < n;) {
            ssize_t written =
                ::pwrite(to, chunk.data() + done, static_cast<std::size_t>(n - done), at + done);
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) return errnoError(errno, "pwrite");
            done += written;
        }
        at += n;
    }
    return {};
}

Status copyData(int from, int to) {
    struct stat st{};
    if (::fstat(from, &st) != 0) return errnoError(errno, "fstat");
    if (::ftruncate(to, st.st_size) != 0) return errnoError(errno, "ftruncate");
    std::vector<char> chunk(kChunkBytes);
    off_t at = 0;
    while (at < st.st_size) {
        off_t data = ::lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) return {};
        if (data < 0) return errnoError(errno, "lseek");
        off_t hole = ::lseek(from, data, SEEK_HOLE);
        if (hole < 0) return errnoError(errno, "lseek");
        AEGIS_CHECK(copyRange(from, to, data, hole, chunk));
        at = hole;
    }
    return {};
}

}  // namespace

Status copySparse(const std::string& from, const std::string& to, unsigned mode) {
    AEGIS_TRY(Fd source, openFile(from, O_RDONLY));
    AEGIS_TRY(Fd target, openFile(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
    if (::ioctl(target.get(), FICLONE, source.get()) == 0) return {};
    auto copied = copyData(source.get(), target.get());
    if (copied) return {};
    ::unlink(to.c_str());
    return std::move(copied.error()).within(to);
}

}  // namespace aegis::os
