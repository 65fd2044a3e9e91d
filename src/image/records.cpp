#include "image/records.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "os/files.h"

namespace aegis::image {
namespace {

constexpr std::uint64_t kMaxRecord = 1 << 20;
constexpr std::size_t kMostKnown = 256;

}  // namespace

Result<json::Value> Records::read(const std::string& path) const {
    struct stat st{};
    if (::stat(path.c_str(), &st) != 0) return errnoError(errno, path);
    std::lock_guard lock(mutex_);
    const auto found = known_.find(path);
    if (found != known_.end()) {
        const auto& one = found->second;
        if (one.device == st.st_dev && one.inode == st.st_ino &&
            one.changed.tv_sec == st.st_ctim.tv_sec && one.changed.tv_nsec == st.st_ctim.tv_nsec)
            return one.value;
    }
    // Of the file that is read, not of the one that was looked at.
    AEGIS_TRY(const os::Fd file, os::openFile(path, O_RDONLY));
    if (::fstat(file.get(), &st) != 0) return errnoError(errno, path);
    AEGIS_TRY(const auto text, os::readAll(file.get(), kMaxRecord, path));
    AEGIS_TRY(auto value, json::parse(text));
    if (known_.size() >= kMostKnown) known_.clear();
    known_.insert_or_assign(path, Known{st.st_dev, st.st_ino, st.st_ctim, value});
    return value;
}

}  // namespace aegis::image
