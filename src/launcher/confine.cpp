#include "launcher/confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "launcher/namespaces.h"
#include "os/files.h"

namespace aegis::launcher {
namespace {

constexpr rlim_t kSoftFiles = 1024;
constexpr rlim_t kHardFiles = 4096;
constexpr const char* kOomScore = "500";
constexpr int kMostCapabilities = 64;

Status limit(int resource, rlim_t soft, rlim_t hard, const char* what) {
    rlimit now{};
    if (::getrlimit(static_cast<__rlimit_resource>(resource), &now) != 0)
        return errnoError(errno, what);
    // Never above what this process may have.
    const rlimit wanted{std::min(soft, now.rlim_max), std::min(hard, now.rlim_max)};
    if (::setrlimit(static_cast<__rlimit_resource>(resource), &wanted) != 0)
        return errnoError(errno, what);
    return {};
}

}  // namespace

Status setLimits() {
    AEGIS_CHECK(limit(RLIMIT_NOFILE, kSoftFiles, kHardFiles, "limit of open files"));
    AEGIS_CHECK(limit(RLIMIT_CORE, 0, 0, "limit of core dumps"));
    AEGIS_TRY(const os::Fd file, os::openFile("/proc/self/oom_score_adj", O_WRONLY));
    return os::writeAll(file.get(), kOomScore);
}

Status dropPrivileges() {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errnoError(errno, "no_new_privs");
    for (int capability = 0; capability < kMostCapabilities; ++capability) {
        if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
        if (errno == EINVAL && capability > CAP_SYS_ADMIN) break;  // beyond the last there is
        return errnoError(errno, "capability bounding set");
    }
    if (::syscall(SYS_setgroups, 0, nullptr) != 0) return errnoError(errno, "setgroups");
    if (::syscall(SYS_setresgid, kGuestId, kGuestId, kGuestId) != 0)
        return errnoError(errno, "setresgid");
    if (::syscall(SYS_setresuid, kGuestId, kGuestId, kGuestId) != 0)
        return errnoError(errno, "setresuid");
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return errnoError(errno, "ambient capabilities");
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> none{};
    if (::syscall(SYS_capset, &header, none.data()) != 0) return errnoError(errno, "capset");
    return {};
}

Status closeDescriptors(unsigned first) {
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) return errnoError(errno, "/dev/null");
    for (int fd = 0; fd < 3; ++fd)
        if (::dup2(null, fd) < 0) return errnoError(errno, "standard descriptors");
    if (null > 2) ::close(null);
    if (::syscall(SYS_close_range, first, ~0U, 0U) != 0) return errnoError(errno, "close_range");
    return {};
}

Status installFilter(const std::string& filter) {
    std::vector<sock_filter> program(filter.size() / sizeof(sock_filter));
    std::memcpy(program.data(), filter.data(), program.size() * sizeof(sock_filter));
    const sock_fprog header{static_cast<unsigned short>(program.size()), program.data()};
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &header) != 0)
        return errnoError(errno, "seccomp");
    return {};
}

}  // namespace aegis::launcher
