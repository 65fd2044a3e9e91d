#include "tools/fs/view.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "os/clock.h"
#include "os/files.h"
#include "os/mount.h"
#include "os/resolve.h"

namespace aegis::tools {
namespace {

constexpr int kMaxLinks = 16;
constexpr int kMaxNewParents = 64;

std::string parentOf(const std::string& path) {
    auto slash = path.find_last_of('/');
    return slash == 0 ? "/" : path.substr(0, slash);
}
std::string nameOf(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

std::string_view kindOf(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISREG(mode)) return "a regular file";
    if (S_ISLNK(mode)) return "a symbolic link";
    if (S_ISFIFO(mode)) return "a FIFO";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

/// The kernel's own trees, wherever a guest may see them.
bool isKernelTree(int fd) {
    struct statfs st{};
    if (::fstatfs(fd, &st) != 0) return true;
    constexpr std::array kMagic{PROC_SUPER_MAGIC,   SYSFS_MAGIC,         DEVPTS_SUPER_MAGIC,
                                CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, 0x19800202 /* mqueue */};
    for (auto magic : kMagic)
        if (st.f_type == magic) return true;
    return false;
}

Result<std::string> linkText(int dir, const std::string& name) {
    std::string text(kMaxPathBytes + 1, '\0');
    ssize_t n = ::readlinkat(dir, name.c_str(), text.data(), text.size());
    if (n < 0) return fsError(errno, "read");
    text.resize(static_cast<std::size_t>(n));
    return text;
}

}  // namespace

Error notAllowed(std::string_view verb) {
    return {ErrorCode::kPermissionDenied,
            fmt::format("not allowed by security.filesystem.{}", verb)};
}

Error fsError(int err, std::string_view verb) {
    if (err == EROFS) return notAllowed(verb);
    Error error = errnoError(err, "");
    if (error.code == ErrorCode::kStorageFull) {
        error.message = "no space left on volume";
        return error;
    }
    const char* text = ::strerrordesc_np(err);
    error.message = text != nullptr ? text : "unknown error";
    error.message[0] = static_cast<char>(std::tolower(error.message[0]));
    return error;
}

Status checkTime(Deadline deadline) {
    if (!deadline.passed(os::systemClock().boot())) return {};
    return {ErrorCode::kTimeout, "took too long"};
}

// A mount that is missing grants nothing; links are refused so that a guest cannot choose which it
// is.
Status SandboxView::addMount(const std::string& path, std::set<std::uint64_t>& into) {
    auto fd = os::openInRoot(root_, path, O_PATH, RESOLVE_NO_SYMLINKS);
    if (!fd) return {};
    AEGIS_TRY(auto id, os::mountIdOf(fd->get()));
    if (id != root_mount_) into.insert(id);
    return {};
}

Result<SandboxView> SandboxView::forTools(int root, const FsPolicy& policy) {
    SandboxView view(root);
    AEGIS_TRY(view.root_mount_, os::mountIdOf(root));
    view.readable_.insert(view.root_mount_);
    for (const auto& grant : policy.grants()) {
        AEGIS_CHECK(view.addMount(grant.mount_path, view.readable_));
        if (grant.writable) AEGIS_CHECK(view.addMount(grant.mount_path, view.writable_));
    }
    AEGIS_CHECK(view.addMount("/tmp", view.readable_));
    AEGIS_CHECK(view.addMount("/tmp", view.writable_));
    for (const char* hidden : {"/proc", "/sys", "/dev", "/aegis"})
        AEGIS_CHECK(view.addMount(hidden, view.hidden_));
    return view;
}

Result<SandboxView> SandboxView::forValidators(int root) {
    SandboxView view(root);
    view.only_listed_ = false;
    AEGIS_TRY(view.root_mount_, os::mountIdOf(root));
    for (const char* hidden : {"/proc", "/sys", "/dev", "/aegis"})
        AEGIS_CHECK(view.addMount(hidden, view.hidden_));
    return view;
}

bool SandboxView::isReadableMount(std::uint64_t mount_id) const {
    if (hidden_.contains(mount_id)) return false;
    return !only_listed_ || readable_.contains(mount_id);
}

Status SandboxView::checkReadable(int fd) const {
    AEGIS_TRY(auto id, os::mountIdOf(fd));
    if (!isReadableMount(id) || isKernelTree(fd)) return notAllowed("read");
    return {};
}

Status SandboxView::checkWritable(int fd) const {
    AEGIS_TRY(auto id, os::mountIdOf(fd));
    if (!writable_.contains(id) || hidden_.contains(id)) return notAllowed("write");
    return {};
}

Result<Found> SandboxView::find(const std::string& path) const {
    AEGIS_TRY(os::Fd fd, os::openInRoot(root_, path, O_PATH));
    AEGIS_CHECK(checkReadable(fd.get()));
    Found found{.fd = std::move(fd)};
    if (::fstat(found.fd.get(), &found.stat) != 0) return fsError(errno, "read");
    return found;
}

Result<os::Fd> SandboxView::makeDirs(const std::string& path) const {
    std::vector<std::string> missing;
    std::string there = path;
    auto dir = os::openInRoot(root_, there, O_PATH | O_DIRECTORY);
    while (!dir && dir.error().code == ErrorCode::kNotFound && there != "/") {
        if (missing.size() >= kMaxNewParents)
            return {ErrorCode::kInvalid,
                    fmt::format("more than {} new directories", kMaxNewParents)};
        missing.push_back(nameOf(there));
        there = parentOf(there);
        dir = os::openInRoot(root_, there, O_PATH | O_DIRECTORY);
    }
    for (; dir && !missing.empty(); missing.pop_back()) {
        AEGIS_CHECK(checkWritable(dir->get()));
        if (::mkdirat(dir->get(), missing.back().c_str(), 0755) != 0 && errno != EEXIST)
            return fsError(errno, "write");
        dir = os::openChild(dir->get(), missing.back(), O_PATH | O_DIRECTORY);
    }
    if (!dir) return dir.error();
    AEGIS_CHECK(checkReadable(dir->get()));
    return dir;
}

Result<Target> SandboxView::target(const std::string& path, bool make_parents,
                                   bool keep_link) const {
    Target target{.path = path};
    for (int links = 0; links < kMaxLinks; ++links) {
        if (target.path == "/") return notAllowed("write");
        auto parent = make_parents
                          ? makeDirs(parentOf(target.path))
                          : os::openInRoot(root_, parentOf(target.path), O_PATH | O_DIRECTORY);
        if (!parent) return parent.error();
        target.parent = std::move(*parent);
        target.name = nameOf(target.path);
        target.exists = ::fstatat(target.parent.get(), target.name.c_str(), &target.stat,
                                  AT_SYMLINK_NOFOLLOW) == 0;
        if (!target.exists && errno != ENOENT) return fsError(errno, "write");
        if (!target.exists || keep_link || !S_ISLNK(target.stat.st_mode)) {
            AEGIS_CHECK(checkWritable(target.parent.get()));
            return target;
        }
        AEGIS_TRY(auto text, linkText(target.parent.get(), target.name));
        AEGIS_TRY(target.path, normalisePath(text, parentOf(target.path)));
    }
    return fsError(ELOOP, "write");
}

Result<os::Fd> openRegular(const Found& file) {
    if (S_ISDIR(file.stat.st_mode)) return {ErrorCode::kInvalid, "is a directory"};
    if (!S_ISREG(file.stat.st_mode))
        return {ErrorCode::kInvalid,
                fmt::format("is {}, not a regular file", kindOf(file.stat.st_mode))};
    // Through the descriptor that was checked: O_NOFOLLOW would refuse the magic link itself, and
    // there is no name left that a guest could change.
    return os::reopen(file.fd.get(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

Result<os::Fd> openDirectory(const Found& dir) {
    if (!S_ISDIR(dir.stat.st_mode)) return {ErrorCode::kInvalid, "is not a directory"};
    return os::reopen(dir.fd.get(), O_RDONLY | O_DIRECTORY | O_NONBLOCK);
}

Result<std::size_t> readChunk(int fd, std::span<char> chunk, Deadline deadline) {
    while (true) {
        AEGIS_CHECK(checkTime(deadline));
        ssize_t n = ::read(fd, chunk.data(), chunk.size());
        if (n >= 0) return static_cast<std::size_t>(n);
        if (errno != EINTR) return fsError(errno, "read");
    }
}

Result<std::string> readWhole(const Found& file, std::uint64_t limit, Deadline deadline) {
    AEGIS_TRY(os::Fd fd, openRegular(file));
    auto too_large = [&] {
        return Error{ErrorCode::kTooLarge, fmt::format("is larger than {} bytes", limit)};
    };
    if (static_cast<std::uint64_t>(file.stat.st_size) > limit) return too_large();
    std::string bytes;
    std::array<char, 65536> chunk{};
    while (true) {
        AEGIS_TRY(auto n, readChunk(fd.get(), chunk, deadline));
        if (n == 0) return bytes;
        if (bytes.size() + n > limit) return too_large();
        bytes.append(chunk.data(), n);
    }
}

}  // namespace aegis::tools
