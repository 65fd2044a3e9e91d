#include "store/sqlite/blob_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <tuple>

#include "os/files.h"
#include "store/sqlite/sqlite.h"
#include "text/digest.h"

namespace aegis::store {
namespace {

Status sync(int fd) {
    if (::fsync(fd) == 0) return {};
    // Space that was only promised at write(2) may be found missing here; nothing else is harmless.
    if (errno == ENOSPC || errno == EDQUOT) return errnoError(errno, "fsync");
    return lostWrite();
}

Status syncDir(const std::string& path) {
    AEGIS_TRY(os::Fd dir, os::openFile(path, O_RDONLY | O_DIRECTORY));
    return sync(dir.get());
}

Status writeNew(const std::string& path, std::string_view bytes) {
    AEGIS_TRY(os::Fd fd, os::openFile(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    AEGIS_CHECK(os::writeAll(fd.get(), bytes));
    return sync(fd.get());
}

}  // namespace

bool isDigest(std::string_view hex) {
    return hex.size() == 64 && hex.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string rawDigest(std::string_view hex) {
    auto nibble = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    std::string out;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        out += static_cast<char>(nibble(hex[i]) * 16 + nibble(hex[i + 1]));
    return out;
}

Status BlobFiles::write(const ExecutionId& id, const std::string& sha256, std::string_view bytes) {
    std::string dir = root_ + "/" + id.str();
    bool fresh = ::access(dir.c_str(), F_OK) != 0;
    AEGIS_CHECK(os::makeDirs(dir));
    if (fresh) AEGIS_CHECK(syncDir(root_));
    std::string temporary = dir + "/" + sha256 + ".tmp", path = dir + "/" + sha256;
    if (auto written = writeNew(temporary, bytes); !written) {
        ::unlink(temporary.c_str());
        return written;
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) return errnoError(errno, path);
    return syncDir(dir);
}

Result<std::string> BlobFiles::read(const ExecutionId& id, const std::string& sha256,
                                    std::uint64_t size) {
    auto text = os::readFile(fmt::format("{}/{}/{}", root_, id.str(), sha256), size);
    if (!text || text->size() != size || text::sha256Hex(*text) != sha256) {
        return {ErrorCode::kInternal,
                fmt::format("body {} of execution {} is damaged or missing{}", sha256, id.str(),
                            text ? "" : ": " + text.error().message)};
    }
    return text;
}

Status BlobFiles::removeAll(const ExecutionId& id) {
    return os::removeTree(root_ + "/" + id.str());
}

std::vector<ExecutionId> BlobFiles::olderThan(const std::string& mark) const {
    std::vector<ExecutionId> out;
    struct stat marked{}, st{};
    if (::stat(mark.c_str(), &marked) != 0) return out;
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(root_.c_str()), &::closedir);
    if (!dir) return out;
    while (dirent* entry = ::readdir(dir.get())) {
        auto id = ExecutionId::parse(entry->d_name);
        if (!id || ::fstatat(::dirfd(dir.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        auto at = [](const timespec& t) { return std::tuple(t.tv_sec, t.tv_nsec); };
        if (at(st.st_ctim) < at(marked.st_mtim)) out.push_back(*id);
    }
    return out;
}

}  // namespace aegis::store
