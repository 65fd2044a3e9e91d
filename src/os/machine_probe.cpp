#include "os/machine_probe.h"

#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace aegis::os {

Result<int> landlockAbi() {
    const long abi =
        ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi >= 1) return static_cast<int>(abi);
    return {ErrorCode::kUnsupported,
            errno == EOPNOTSUPP ? "it is switched off at boot" : "the kernel has none"};
}

Status tryUserNamespace() {
    const pid_t child = ::fork();
    if (child < 0) return errnoError(errno, "fork");
    // Nothing but system calls: other threads may hold any lock.
    if (child == 0) ::_exit(::unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return errnoError(errno, "waitpid");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    if (!WIFEXITED(status)) return {ErrorCode::kUnsupported, "the system call was killed"};
    return errnoError(WEXITSTATUS(status), "unshare");
}

Status seccompFilters() {
    for (std::uint32_t action : {SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS})
        if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
            return errnoError(errno, "seccomp");
    return {};
}

bool clockSynchronized() {
    timex state{};
    return ::adjtimex(&state) != TIME_ERROR;
}

OpenFileLimits openFileLimits() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return {limit.rlim_cur, limit.rlim_max};
}

void raiseOpenFiles(std::uint64_t wanted) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
    // A refusal leaves what there was.
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<PathFacts> pathFacts(const std::string& path) {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) {
        if (errno == ENOENT) return PathFacts{};
        return errnoError(errno, path);
    }
    PathFacts facts;
    facts.exists = true;
    facts.directory = S_ISDIR(info.st_mode);
    facts.writable = ::access(path.c_str(), facts.directory ? W_OK | X_OK : W_OK) == 0;
    facts.ours = info.st_uid == ::geteuid();
    facts.mode = info.st_mode & 07777U;
    return facts;
}

}  // namespace aegis::os
