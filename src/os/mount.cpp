#include "os/mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>

#include "os/files.h"
#include "os/mount_tree.h"

namespace aegis::os {
namespace {

Result<struct statx> statxAt(int dir_fd, const char* name, int flags) {
    struct statx out{};
    if (::statx(dir_fd, name, flags | AT_NO_AUTOMOUNT, STATX_MNT_ID, &out) != 0)
        return errnoError(errno, name[0] == 0 ? "statx" : name);
    return out;
}

Result<std::uint64_t> mountIdFrom(int dir_fd, const char* name, int flags) {
    AEGIS_TRY(struct statx st, statxAt(dir_fd, name, flags));
    if ((st.stx_mask & STATX_MNT_ID) == 0)
        return {ErrorCode::kUnsupported,
                "the kernel does not tell mount ids (Linux 5.8 is needed)"};
    return st.stx_mnt_id;
}

}  // namespace

Status unmount(const std::string& target) {
    if (::umount2(target.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
    int err = errno;
    if (err == EINVAL || err == ENOENT) return {};
    if (err == EBUSY) return {ErrorCode::kConflict, target + ": is in use"};
    return errnoError(err, target);
}

Status detachMount(const std::string& target) {
    if (::umount2(target.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) == 0) return {};
    if (errno == EINVAL || errno == ENOENT) return {};
    return errnoError(errno, target);
}

Result<Fd> cloneReadOnly(const std::string& path) {
    return cloneTreeAt(
        AT_FDCWD, path.c_str(),
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

Result<bool> isMountPoint(const std::string& path) {
    AEGIS_TRY(struct statx st, statxAt(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW));
    return (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

Result<std::uint64_t> mountIdOf(int fd) { return mountIdFrom(fd, "", AT_EMPTY_PATH); }

Result<std::uint64_t> mountIdAt(int dir_fd, const char* name) {
    return mountIdFrom(dir_fd, name, AT_SYMLINK_NOFOLLOW);
}

Result<Space> spaceOf(const std::string& path) {
    struct statvfs st{};
    if (::statvfs(path.c_str(), &st) != 0) return errnoError(errno, path);
    return Space{.block_bytes = st.f_frsize,
                 .total_bytes = st.f_blocks * st.f_frsize,
                 .free_bytes = st.f_bfree * st.f_frsize,
                 .available_bytes = st.f_bavail * st.f_frsize,
                 .free_inodes = st.f_ffree};
}

Status syncFileSystem(const std::string& path) {
    AEGIS_TRY(Fd fd, openFile(path, O_RDONLY | O_DIRECTORY));
    if (::syncfs(fd.get()) != 0) return errnoError(errno, path);
    return {};
}

}  // namespace aegis::os
