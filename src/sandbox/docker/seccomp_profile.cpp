#include "sandbox/docker/seccomp_profile.h"

#include <array>
#include <cerrno>
#include <initializer_list>
#include <string_view>

#include "text/json.h"

namespace aegis::sandbox {
namespace {

constexpr std::string_view kFiles[] = {"access",
                                       "chdir",
                                       "chmod",
                                       "chown",
                                       "close",
                                       "close_range",
                                       "copy_file_range",
                                       "creat",
                                       "dup",
                                       "dup2",
                                       "dup3",
                                       "faccessat",
                                       "faccessat2",
                                       "fadvise64",
                                       "fallocate",
                                       "fchdir",
                                       "fchmod",
                                       "fchmodat",
                                       "fchmodat2",
                                       "fchown",
                                       "fchownat",
                                       "fcntl",
                                       "fdatasync",
                                       "fgetxattr",
                                       "flistxattr",
                                       "flock",
                                       "fremovexattr",
                                       "fsetxattr",
                                       "fstat",
                                       "fstatfs",
                                       "fsync",
                                       "ftruncate",
                                       "futimesat",
                                       "getcwd",
                                       "getdents",
                                       "getdents64",
                                       "getxattr",
                                       "inotify_add_watch",
                                       "inotify_init",
                                       "inotify_init1",
                                       "inotify_rm_watch",
                                       "ioctl",
                                       "lchown",
                                       "lgetxattr",
                                       "link",
                                       "linkat",
                                       "listxattr",
                                       "llistxattr",
                                       "lremovexattr",
                                       "lseek",
                                       "lsetxattr",
                                       "lstat",
                                       "mkdir",
                                       "mkdirat",
                                       "mknod",
                                       "mknodat",
                                       "newfstatat",
                                       "open",
                                       "openat",
                                       "openat2",
                                       "pipe",
                                       "pipe2",
                                       "pread64",
                                       "preadv",
                                       "preadv2",
                                       "pwrite64",
                                       "pwritev",
                                       "pwritev2",
                                       "read",
                                       "readahead",
                                       "readlink",
                                       "readlinkat",
                                       "readv",
                                       "removexattr",
                                       "rename",
                                       "renameat",
                                       "renameat2",
                                       "rmdir",
                                       "sendfile",
                                       "setxattr",
                                       "splice",
                                       "stat",
                                       "statfs",
                                       "statx",
                                       "symlink",
                                       "symlinkat",
                                       "sync",
                                       "sync_file_range",
                                       "syncfs",
                                       "tee",
                                       "truncate",
                                       "umask",
                                       "unlink",
                                       "unlinkat",
                                       "utime",
                                       "utimensat",
                                       "utimes",
                                       "vmsplice",
                                       "write",
                                       "writev",
                                       "landlock_add_rule",
                                       "landlock_create_ruleset",
                                       "landlock_restrict_self"};

constexpr std::string_view kWaiting[] = {"alarm",
                                         "clock_getres",
                                         "clock_gettime",
                                         "clock_nanosleep",
                                         "epoll_create",
                                         "epoll_create1",
                                         "epoll_ctl",
                                         "epoll_pwait",
                                         "epoll_pwait2",
                                         "epoll_wait",
                                         "eventfd",
                                         "eventfd2",
                                         "futex",
                                         "futex_waitv",
                                         "futex_wake",
                                         "futex_wait",
                                         "futex_requeue",
                                         "getitimer",
                                         "gettimeofday",
                                         "io_cancel",
                                         "io_destroy",
                                         "io_getevents",
                                         "io_pgetevents",
                                         "io_setup",
                                         "io_submit",
                                         "nanosleep",
                                         "pause",
                                         "poll",
                                         "ppoll",
                                         "pselect6",
                                         "select",
                                         "setitimer",
                                         "signalfd",
                                         "signalfd4",
                                         "time",
                                         "timer_create",
                                         "timer_delete",
                                         "timer_getoverrun",
                                         "timer_gettime",
                                         "timer_settime",
                                         "timerfd_create",
                                         "timerfd_gettime",
                                         "timerfd_settime",
                                         "times"};

constexpr std::string_view kMemory[] = {"brk",
                                        "get_robust_list",
                                        "madvise",
                                        "membarrier",
                                        "memfd_create",
                                        "mincore",
                                        "mlock",
                                        "mlock2",
                                        "mlockall",
                                        "mmap",
                                        "mprotect",
                                        "mq_getsetattr",
                                        "mq_notify",
                                        "mq_open",
                                        "mq_timedreceive",
                                        "mq_timedsend",
                                        "mq_unlink",
                                        "mremap",
                                        "mseal",
                                        "msgctl",
                                        "msgget",
                                        "msgrcv",
                                        "msgsnd",
                                        "msync",
                                        "munlock",
                                        "munlockall",
                                        "munmap",
                                        "pkey_alloc",
                                        "pkey_free",
                                        "pkey_mprotect",
                                        "remap_file_pages",
                                        "rseq",
                                        "semctl",
                                        "semget",
                                        "semop",
                                        "semtimedop",
                                        "set_robust_list",
                                        "shmat",
                                        "shmctl",
                                        "shmdt",
                                        "shmget"};

constexpr std::string_view kProcesses[] = {"arch_prctl",
                                           "capget",
                                           "capset",
                                           "execve",
                                           "execveat",
                                           "exit",
                                           "exit_group",
                                           "fork",
                                           "getcpu",
                                           "getegid",
                                           "geteuid",
                                           "getgid",
                                           "getgroups",
                                           "getpgid",
                                           "getpgrp",
                                           "getpid",
                                           "getppid",
                                           "getpriority",
                                           "getrandom",
                                           "getresgid",
                                           "getresuid",
                                           "getrlimit",
                                           "getrusage",
                                           "getsid",
                                           "gettid",
                                           "getuid",
                                           "ioprio_get",
                                           "ioprio_set",
                                           "kill",
                                           "pidfd_open",
                                           "pidfd_send_signal",
                                           "prctl",
                                           "prlimit64",
                                           "restart_syscall",
                                           "rt_sigaction",
                                           "rt_sigpending",
                                           "rt_sigprocmask",
                                           "rt_sigqueueinfo",
                                           "rt_sigreturn",
                                           "rt_sigsuspend",
                                           "rt_sigtimedwait",
                                           "rt_tgsigqueueinfo",
                                           "sched_get_priority_max",
                                           "sched_get_priority_min",
                                           "sched_getaffinity",
                                           "sched_getattr",
                                           "sched_getparam",
                                           "sched_getscheduler",
                                           "sched_rr_get_interval",
                                           "sched_setaffinity",
                                           "sched_setattr",
                                           "sched_setparam",
                                           "sched_setscheduler",
                                           "sched_yield",
                                           "seccomp",
                                           "set_tid_address",
                                           "setfsgid",
                                           "setfsuid",
                                           "setgid",
                                           "setgroups",
                                           "setpgid",
                                           "setpriority",
                                           "setregid",
                                           "setresgid",
                                           "setresuid",
                                           "setreuid",
                                           "setrlimit",
                                           "setsid",
                                           "setuid",
                                           "sigaltstack",
                                           "sysinfo",
                                           "tgkill",
                                           "tkill",
                                           "uname",
                                           "vfork",
                                           "wait4",
                                           "waitid"};

constexpr std::string_view kSockets[] = {"accept",      "accept4",     "bind",       "connect",
                                         "getpeername", "getsockname", "getsockopt", "listen",
                                         "recvfrom",    "recvmmsg",    "recvmsg",    "sendmmsg",
                                         "sendmsg",     "sendto",      "setsockopt", "shutdown"};

// linux/sched.h: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (NEWTIME is not for
// clone).
constexpr std::uint64_t kCloneNewMask = 0x7E020000;

constexpr std::string_view nativeArchitecture() {
#if defined(__x86_64__)
    return "SCMP_ARCH_X86_64";
#elif defined(__aarch64__)
    return "SCMP_ARCH_AARCH64";
#else
#error "the seccomp profile knows x86-64 and aarch64"
#endif
}

json::Object rule(json::Array names, std::string_view action = "SCMP_ACT_ALLOW") {
    return {{"names", std::move(names)}, {"action", action}};
}

json::Object ruleOnArgument(std::string_view name, unsigned index, std::uint64_t value,
                            std::uint64_t value_two, std::string_view op) {
    auto result = rule({name});
    result["args"] = json::Array{
        json::Object{{"index", index}, {"value", value}, {"valueTwo", value_two}, {"op", op}}};
    return result;
}

std::string makeProfile() {
    json::Array allowed;
    auto add = [&allowed](const auto& names) {
        for (std::string_view name : names)
            allowed.emplace_back(name);
    };
    add(kFiles);
    add(kWaiting);
    add(kMemory);
    add(kProcesses);
    add(kSockets);

    json::Array rules{rule(std::move(allowed))};
    for (std::uint64_t family : {1U, 2U, 10U})  // AF_UNIX, AF_INET, AF_INET6
        rules.push_back(ruleOnArgument("socket", 0, family, 0, "SCMP_CMP_EQ"));
    rules.push_back(ruleOnArgument("socketpair", 0, 1, 0, "SCMP_CMP_EQ"));
    rules.push_back(ruleOnArgument("clone", 0, kCloneNewMask, 0, "SCMP_CMP_MASKED_EQ"));
    // PER_LINUX, and what asks for the current value.
    for (std::uint64_t persona : {std::uint64_t{0}, std::uint64_t{0xFFFFFFFF}})
        rules.push_back(ruleOnArgument("personality", 0, persona, 0, "SCMP_CMP_EQ"));
    auto clone3 = rule({"clone3"}, "SCMP_ACT_ERRNO");
    clone3["errnoRet"] = ENOSYS;
    rules.push_back(std::move(clone3));

    return json::dump(json::Object{{"defaultAction", "SCMP_ACT_ERRNO"},
                                   {"architectures", json::Array{nativeArchitecture()}},
                                   {"syscalls", std::move(rules)}});
}

}  // namespace

const std::string& seccompProfile() {
    static const std::string profile = makeProfile();
    return profile;
}

}  // namespace aegis::sandbox
