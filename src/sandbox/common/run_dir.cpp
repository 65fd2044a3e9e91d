#include "sandbox/common/run_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <vector>

#include "os/files.h"
#include "os/mount.h"
#include "os/mount_tree.h"
#include "os/user_namespace.h"

namespace aegis::sandbox {
namespace {

/// A directory that is ours alone: made if missing, refused when it is a link or somebody else's.
Status ownDirectory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return errnoError(errno, path);
    struct stat st{};
    if (::lstat(path.c_str(), &st) != 0) return errnoError(errno, path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid())
        return {ErrorCode::kPermissionDenied, path + ": is not a directory of this user"};
    if (::chmod(path.c_str(), 0700) != 0) return errnoError(errno, path);
    if (::access(path.c_str(), W_OK) != 0) return errnoError(errno, path);
    return {};
}

std::vector<std::string> bases() {
    std::vector<std::string> out{"/run/aegis"};
    if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime && runtime[0] == '/')
        out.push_back(std::string(runtime) + "/aegis");
    out.push_back(fmt::format("/tmp/aegis-{}", os::startingUser()));
    return out;
}

std::string nameOf(std::string_view entry) { return std::string(entry.substr(0, entry.find('.'))); }

}  // namespace

Result<RunDirs> RunDirs::open(const NodeId& node, Random& random, const std::string& base,
                              const std::string& kind) {
    Status status;
    for (const auto& candidate : base.empty() ? bases() : std::vector<std::string>{base}) {
        const auto root =
            fmt::format("{}/{}{}{}", candidate, node.str(), kind.empty() ? "" : "-", kind);
        if (root.size() + sizeof("/01234567/proxy.sock") > sizeof(sockaddr_un::sun_path)) {
            status = Error(ErrorCode::kInvalid, root + ": too long for the path of a socket");
            continue;
        }
        status = ownDirectory(candidate);
        if (status) status = ownDirectory(root);
        if (status) return RunDirs(root, random);
    }
    return std::move(status.error()).within("no place for the sandboxes' sockets");
}

RunDirs::~RunDirs() {
    // Sandboxes that outlive the daemon still hold it; then it stays.
    if (mounted_) (void)os::unmount(root_);
    if (!root_.empty()) ::rmdir(root_.c_str());
}

Status RunDirs::keepInMemory() {
    AEGIS_TRY(mounted_, os::isMountPoint(root_));
    struct statfs st{};
    if (::statfs(root_.c_str(), &st) != 0) return errnoError(errno, root_);
    if (mounted_ || st.f_type == TMPFS_MAGIC) return {};
    // As much as a /run in memory has, which on most machines it is.
    AEGIS_TRY(const os::Fd memory,
              os::newFileSystem("tmpfs", {{"size", "10%"}, {"mode", "0700"}},
                                MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
    AEGIS_CHECK(os::attachTreeAt(memory.get(), AT_FDCWD, root_.c_str()));
    mounted_ = true;
    return {};
}

Result<RunDir> RunDirs::create() {
    // Another of the same node takes the root along when it ends.
    AEGIS_CHECK(ownDirectory(root_));
    for (int attempt = 0; attempt < 16; ++attempt) {
        std::array<std::byte, 4> bytes{};
        random_->fill(bytes);
        RunDir dir;
        for (auto byte : bytes)
            dir.name += fmt::format("{:02x}", static_cast<unsigned>(byte));
        dir.shared = root_ + "/" + dir.name;
        dir.captures = dir.shared + ".out";
        if (::mkdir(dir.shared.c_str(), 0755) != 0) {
            if (errno == EEXIST) continue;
            return errnoError(errno, dir.shared);
        }
        // The umask may have taken what the sandbox's user needs to reach the sockets.
        if (::chmod(dir.shared.c_str(), 0755) != 0 || ::mkdir(dir.captures.c_str(), 0700) != 0) {
            const int failure = errno;
            ::rmdir(dir.shared.c_str());
            return errnoError(failure, dir.captures);
        }
        return dir;
    }
    return {ErrorCode::kConflict, root_ + ": no free name for a sandbox's directory"};
}

Status RunDirs::remove(const RunDir& dir) {
    AEGIS_CHECK(os::removeTree(dir.shared));
    return os::removeTree(dir.captures);
}

Status RunDirs::sweep(const std::set<std::string>& keep) {
    std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(root_.c_str()), ::closedir);
    if (!entries && errno == ENOENT) return {};
    if (!entries) return errnoError(errno, root_);
    std::vector<std::string> stale;
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != ".." && !keep.contains(nameOf(name)))
            stale.push_back(root_ + "/" + entry->d_name);
    }
    for (const auto& path : stale)
        AEGIS_CHECK(os::removeTree(path));
    return {};
}

Status writeHosts(const RunDir& dir) {
    const auto path = dir.hostsFile();
    AEGIS_TRY(os::Fd file, os::openFile(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
    AEGIS_CHECK(os::writeAll(file.get(), "127.0.0.1\tlocalhost aegis\n::1\tlocalhost\n"));
    // The umask may have taken what the sandbox's user needs to read it.
    if (::fchmod(file.get(), 0644) != 0) return errnoError(errno, path);
    return {};
}

Result<CaptureFile> makeCapture(const RunDir& dir, const std::string& name) {
    const auto path = dir.captures + "/" + name;
    CaptureFile file;
    AEGIS_TRY(file.writer, os::openFile(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL, 0600));
    AEGIS_TRY(file.reader, os::openFile(path, O_RDONLY));
    return file;
}

std::string readCapture(const os::Fd& reader, std::size_t limit) {
    std::string text;
    struct stat st{};
    if (!reader || ::fstat(reader.get(), &st) != 0 || st.st_size <= 0) return text;
    text.resize(std::min(limit, static_cast<std::size_t>(st.st_size)));
    std::size_t got = 0;
    while (got < text.size()) {
        const auto n =
            ::pread(reader.get(), text.data() + got, text.size() - got, static_cast<off_t>(got));
        if (n <= 0) break;
        got += static_cast<std::size_t>(n);
    }
    text.resize(got);
    return text;
}

}  // namespace aegis::sandbox
