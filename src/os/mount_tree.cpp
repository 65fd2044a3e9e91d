#include "os/mount_tree.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace aegis::os {
namespace {

/// Private besides: where the original is shared, as systemd makes all mounts, its copy would be a
/// peer, and what is mounted in either would appear in the other.
Status setAttributes(int tree, std::uint64_t attributes, const std::string& what) {
    mount_attr attr{};
    attr.attr_set = attributes;
    attr.propagation = MS_PRIVATE;
    if (::mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr) != 0)
        return errnoError(errno, what);
    return {};
}

Result<Fd> openTree(int dir_fd, const char* path, std::uint64_t attributes, const std::string& what,
                    unsigned more_flags = 0) {
    const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT |
                           AT_SYMLINK_NOFOLLOW | (path[0] == '\0' ? AT_EMPTY_PATH : 0U) |
                           more_flags;
    Fd tree(::open_tree(dir_fd, path, flags));
    if (!tree) return errnoError(errno, what);
    AEGIS_CHECK(setAttributes(tree.get(), attributes, what));
    return tree;
}

}  // namespace

Result<Fd> cloneTree(int fd, std::uint64_t attributes, const std::string& what) {
    return openTree(fd, "", attributes, what);
}

Result<Fd> cloneTreeAt(int dir_fd, const char* path, std::uint64_t attributes) {
    return openTree(dir_fd, path, attributes, path);
}

Result<Fd> cloneWholeTree(const char* path) {
    return openTree(AT_FDCWD, path, 0, path, AT_RECURSIVE);
}

Result<Fd> newFileSystem(const char* type, std::initializer_list<MountOption> options,
                         std::uint64_t attributes) {
    const Fd context(::fsopen(type, FSOPEN_CLOEXEC));
    if (!context) return errnoError(errno, type);
    for (const auto& [key, value] : options) {
        const bool flag = value.empty();
        if (::fsconfig(context.get(), flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key,
                       flag ? nullptr : value.c_str(), 0) != 0)
            return errnoError(errno, std::string(type) + " " + key);
    }
    if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
        return errnoError(errno, type);
    Fd tree(::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
    if (!tree) return errnoError(errno, type);
    return tree;
}

Status reconfigure(int fd, std::initializer_list<MountOption> options, const std::string& what) {
    const Fd context(::fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
    if (!context) return errnoError(errno, what);
    for (const auto& [key, value] : options)
        if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) != 0)
            return errnoError(errno, what + " " + key);
    if (::fsconfig(context.get(), FSCONFIG_CMD_RECONFIGURE, nullptr, nullptr, 0) != 0)
        return errnoError(errno, what);
    return {};
}

Status attachTree(int tree, int target_fd, const std::string& what) {
    if (::move_mount(tree, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) !=
        0)
        return errnoError(errno, what);
    return {};
}

Status attachTreeAt(int tree, int dir_fd, const char* path) {
    if (::move_mount(tree, "", dir_fd, path, MOVE_MOUNT_F_EMPTY_PATH) != 0)
        return errnoError(errno, path);
    return {};
}

Status pivotTo(int root) {
    // pivot_root(2): with "." twice the old root ends up on top of the new one, and goes from
    // there.
    if (::fchdir(root) != 0) return errnoError(errno, "the new root");
    if (::syscall(SYS_pivot_root, ".", ".") != 0) return errnoError(errno, "pivot_root");
    if (::umount2(".", MNT_DETACH) != 0) return errnoError(errno, "the old root");
    if (::chdir("/") != 0) return errnoError(errno, "/");
    return {};
}

}  // namespace aegis::os
