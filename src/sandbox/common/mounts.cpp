#include "sandbox/common/mounts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>

#include "os/files.h"
#include "os/mount_tree.h"

namespace aegis::sandbox {
namespace {

constexpr uid_t kGuestUid = 1000;
constexpr gid_t kGuestGid = 1000;

/// O_PATH descriptor of `path` beneath `dir`; -1 and errno. `path` may be empty: `dir` itself.
os::Fd openBeneath(int dir, const std::string& path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    const char* name = path.empty() ? "." : path.c_str();
    return os::Fd(static_cast<int>(::syscall(SYS_openat2, dir, name, &how, sizeof how)));
}

Error refusal(int err, const std::string& volume, std::string_view path) {
    const auto where = fmt::format("volume {}: {}", volume, path);
    if (err == ELOOP || err == EXDEV)
        return {ErrorCode::kPermissionDenied,
                where + ": is or passes a symbolic link or a mount, and is not followed"};
    return errnoError(err, where);
}

Result<os::Fd> openRoot(const ports::AttachedVolume& volume) {
    auto root = os::openFile(volume.source, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (!root) return std::move(root.error()).within("volume " + volume.name);
    return root;
}

/// Makes `path` beneath `dir`, component by component; what exists stays as it is.
Status createBeneath(os::Fd dir, const std::string& volume, std::string_view path) {
    std::string_view rest = path;
    while (!rest.empty()) {
        const auto slash = rest.find('/');
        const std::string name(rest.substr(0, slash));
        rest.remove_prefix(slash == rest.npos ? rest.size() : slash + 1);
        if (name.empty()) continue;
        os::Fd next = openBeneath(dir.get(), name);
        if (!next && errno == ENOENT) {
            if (::mkdirat(dir.get(), name.c_str(), 0755) != 0 && errno != EEXIST)
                return refusal(errno, volume, path);
            next = openBeneath(dir.get(), name);
            if (next && ::fchownat(next.get(), "", kGuestUid, kGuestGid, AT_EMPTY_PATH) != 0)
                return refusal(errno, volume, path);
        }
        if (!next) return refusal(errno, volume, path);
        dir = std::move(next);
    }
    return {};
}

/// The part of `path` below `mount_point`; nullopt when it is not under it.
std::optional<std::string_view> below(std::string_view path, std::string_view mount_point) {
    if (!path.starts_with(mount_point)) return std::nullopt;
    path.remove_prefix(mount_point.size());
    if (!path.empty() && path.front() != '/') return std::nullopt;
    if (!path.empty()) path.remove_prefix(1);
    return path;
}

Status createListed(const ports::SandboxSpec& spec) {
    for (const auto& path : spec.create_directories) {
        for (const auto& volume : spec.volumes) {
            const auto rest = below(path, volume.mount_point);
            if (!rest) continue;
            AEGIS_TRY(os::Fd root, openRoot(volume));
            AEGIS_CHECK(createBeneath(std::move(root), volume.name, *rest));
            break;
        }
    }
    return {};
}

const ports::AttachedVolume* findVolume(const ports::SandboxSpec& spec, const std::string& name) {
    for (const auto& volume : spec.volumes)
        if (volume.name == name) return &volume;
    return nullptr;
}

/// An empty file for the guest, where there is none.
Status createFile(const os::Fd& dir, const std::string& volume, const std::string& name) {
    if (::mknodat(dir.get(), name.c_str(), S_IFREG | 0644, 0) != 0 ||
        ::fchownat(dir.get(), name.c_str(), kGuestUid, kGuestGid, AT_SYMLINK_NOFOLLOW) != 0)
        return refusal(errno, volume, name);
    return {};
}

Status makePlace(const OpenMount& outer, const std::string& rest, bool directory) {
    const auto slash = rest.rfind('/');
    const auto parent = directory ? rest : rest.substr(0, slash == rest.npos ? 0 : slash);
    os::Fd root(::fcntl(outer.entry.get(), F_DUPFD_CLOEXEC, 0));
    if (!root) return errnoError(errno, outer.target);
    AEGIS_CHECK(createBeneath(std::move(root), outer.target, parent));
    if (directory) return {};
    const os::Fd dir = openBeneath(outer.entry.get(), parent);
    if (!dir) return refusal(errno, outer.target, parent);
    return createFile(dir, outer.target, rest.substr(slash == rest.npos ? 0 : slash + 1));
}

/// A grant within another one is mounted on what lies there, which must be no link either: the
/// mount would go to where that points.
Status checkPlace(const std::vector<OpenMount>& mounts, const OpenMount& one) {
    const auto* outer = around(mounts, one);
    if (outer == nullptr) return {};
    const std::string rest(*below(one.target, outer->target));
    if (openBeneath(outer->entry.get(), rest)) return {};
    if (errno == ELOOP || errno == EXDEV)
        return {ErrorCode::kPermissionDenied,
                fmt::format("{}: is or passes a symbolic link within {}, and is not followed",
                            one.target, outer->target)};
    if (errno != ENOENT) return errnoError(errno, one.target);
    if (outer->read_only)
        return {ErrorCode::kNotFound,
                fmt::format("{}: there is no such place in {}, which is read-only", one.target,
                            outer->target)};
    return makePlace(*outer, rest, one.directory);
}

}  // namespace

Result<std::vector<OpenMount>> openMounts(const ports::SandboxSpec& spec) {
    AEGIS_CHECK(createListed(spec));
    std::vector<OpenMount> out;
    for (const auto& grant : spec.mounts) {
        const auto* volume = findVolume(spec, grant.volume_name);
        if (volume == nullptr)
            return {ErrorCode::kInternal, "volume " + grant.volume_name + " is not attached"};
        AEGIS_TRY(os::Fd root, openRoot(*volume));
        os::Fd entry = openBeneath(root.get(), grant.sub_path);
        if (!entry && errno == ENOENT && !grant.writable) continue;
        struct stat st{};
        if (!entry || ::fstat(entry.get(), &st) != 0)
            return refusal(errno, volume->name, grant.sub_path);
        if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
            return {ErrorCode::kPermissionDenied,
                    fmt::format("volume {}: {}: is neither a directory nor a file", volume->name,
                                grant.sub_path)};
        out.push_back({std::move(entry), grant.mount_path, !grant.writable, S_ISDIR(st.st_mode)});
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const auto& a, const auto& b) { return a.target < b.target; });
    for (const auto& one : out)
        AEGIS_CHECK(checkPlace(out, one));
    return out;
}

Result<os::Fd> cloneMount(const OpenMount& one) {
    std::uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if (one.read_only) attributes |= MOUNT_ATTR_RDONLY;
    return os::cloneTree(one.entry.get(), attributes, one.target);
}

const OpenMount* around(const std::vector<OpenMount>& mounts, const OpenMount& one) {
    const OpenMount* found = nullptr;
    for (const auto& other : mounts) {
        const auto rest = below(one.target, other.target);
        if (!rest || rest->empty()) continue;
        if (found == nullptr || found->target.size() < other.target.size()) found = &other;
    }
    return found;
}

}  // namespace aegis::sandbox
