#include "launcher/namespaces.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "os/files.h"
#include "proto/launch.h"

namespace aegis::launcher {
namespace {

namespace launch = proto::launch;

constexpr std::uint64_t kNamespaces =
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
constexpr std::string_view kHostName = "aegis";
constexpr const char* kChildTables = "/proc/sys/net/ipv4/tcp_child_ehash_entries";
constexpr std::string_view kConnectionBuckets = "256";  // a page

/// Where the ids below the guest's, the guest's, and those above it are outside.
std::string idMap(uid_t below, uid_t guest, uid_t above) {
    return fmt::format("0 {} {}\n{} {} 1\n{} {} {}\n", below, kGuestId, kGuestId, guest,
                       kGuestId + 1, above, kIdCount - kGuestId - 1);
}

std::string doorMap(uid_t outside, uid_t count) {
    return fmt::format("{} {} {}\n", launch::kDoorUser, outside, count);
}

Status writeProc(pid_t pid, const char* name, const std::string& text) {
    const auto path = fmt::format("/proc/{}/{}", pid, name);
    AEGIS_TRY(const os::Fd file, os::openFile(path, O_WRONLY));
    // One write: the kernel takes a map whole or not at all.
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return errnoError(errno, path);
    return {};
}

}  // namespace

Result<Clone> cloneIntoNamespaces(int cgroup) {
    int pidfd = -1;
    clone_args args{};
    args.flags = kNamespaces | CLONE_PIDFD;
    args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
    args.exit_signal = SIGCHLD;
    if (cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = static_cast<std::uint64_t>(cgroup);
    }
    // A plain fork but for the namespaces: this process has one thread, so that what comes after
    // may use all of the library.
    const long pid = ::syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) {
        if (errno == ENOSPC || errno == EPERM || errno == EUSERS)
            return {ErrorCode::kUnsupported,
                    fmt::format("new namespaces are refused: {}", std::strerror(errno)),
                    "allow user namespaces: sysctl user.max_user_namespaces, "
                    "kernel.unprivileged_userns_clone"};
        return errnoError(errno, "clone3");
    }
    Clone out;
    out.pid = static_cast<pid_t>(pid);
    if (pid > 0) out.pidfd.reset(pidfd);
    return out;
}

Status enterCgroup(std::vector<os::Fd> doors) {
    for (const auto& door : doors)
        AEGIS_CHECK(os::writeAll(door.get(), "0"));
    return {};
}

Status mapIdentity(pid_t child, bool doors) {
    const auto map = idMap(kImageIdBase, kGuestId, kImageIdBase + kGuestId + 1);
    const auto more = doors ? doorMap(launch::kDoorUserBase, launch::kDoorUsers) : "";
    AEGIS_CHECK(writeProc(child, "uid_map", map + more));
    return writeProc(child, "gid_map", map);
}

Status mapStem(int template_pidfd, pid_t stem, std::uint32_t door) {
    // The kernel takes a map only from within the parent of the namespace that is mapped.
    if (::setns(template_pidfd, CLONE_NEWUSER) != 0) return errnoError(errno, "setns");
    const auto map =
        idMap(0, kGuestId, kGuestId + 1);  // a range must lie within one of the parent's
    const auto own = door > 0 ? doorMap(launch::kDoorUser + door - 1, 1) : "";
    AEGIS_CHECK(writeProc(stem, "uid_map", map + own));
    return writeProc(stem, "gid_map", map);
}

Status becomeDoorUser() {
    constexpr uid_t kSame = ~uid_t{0};
    if (::syscall(SYS_setresuid, kSame, kSame, launch::kDoorUser) != 0)
        return errnoError(errno, "setresuid");
    return {};
}

Status becomeOwner() {
    // Not the library's functions: they tell other threads, of which there are none.
    if (::syscall(SYS_setgroups, 0, nullptr) != 0) return errnoError(errno, "setgroups");
    if (::syscall(SYS_setresgid, 0, 0, 0) != 0) return errnoError(errno, "setresgid");
    if (::syscall(SYS_setresuid, 0, 0, 0) != 0) return errnoError(errno, "setresuid");
    return {};
}

Status nameAndRaise() {
    if (::sethostname(kHostName.data(), kHostName.size()) != 0)
        return errnoError(errno, "sethostname");
    const os::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) return errnoError(errno, "socket");
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return errnoError(errno, "loopback");
    return {};
}

void shrinkConnectionTables() {
    if (const auto file = os::openFile(kChildTables, O_WRONLY))
        (void)os::writeAll(file->get(), kConnectionBuckets);
}

Status hideCgroups() {
    if (::unshare(CLONE_NEWCGROUP) != 0) return errnoError(errno, "cgroup namespace");
    return {};
}

}  // namespace aegis::launcher
