#include "os/identity.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace aegis::os {

// glibc's wrappers would change every thread of the process; the system calls change the caller
// only.
Status takeFileIdentity(uid_t uid, gid_t gid) {
    if (::unshare(CLONE_FS) != 0) return errnoError(errno, "unshare(CLONE_FS)");
    ::umask(022);
    bool root = ::geteuid() == 0;
    if (root && ::syscall(SYS_setgroups, 0, nullptr) != 0) return errnoError(errno, "setgroups");
    ::syscall(SYS_setfsgid, gid);
    ::syscall(SYS_setfsuid, uid);
    // They report nothing but the value before; asking with an impossible id tells what holds now.
    if (static_cast<gid_t>(::syscall(SYS_setfsgid, -1)) != gid ||
        static_cast<uid_t>(::syscall(SYS_setfsuid, -1)) != uid)
        return {ErrorCode::kPermissionDenied, "cannot take the file identity of the sandbox's user",
                "run the daemon as root"};
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> none{};
    if (::syscall(SYS_capset, &header, none.data()) != 0) return errnoError(errno, "capset");
    return {};
}

}  // namespace aegis::os
