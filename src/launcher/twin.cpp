#include "launcher/twin.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csetjmp>
#include <csignal>

namespace aegis::launcher {
namespace {

constexpr std::size_t kStackBytes = 16 << 10;
constexpr unsigned kRseqBytes = 32;  // the size that every kernel takes

// Not on the stack, which is the parent's until it has gone.
std::jmp_buf g_return;
std::array<int, 2> g_pipe;
alignas(16) std::array<char, kStackBytes> g_stack;

int waitAlone(void*) {
    ::close(g_pipe[1]);
    char byte = 0;
    while (::read(g_pipe[0], &byte, 1) < 0 && errno == EINTR) {
    }
    std::longjmp(g_return, 1);
}

/// What the kernel forgets of a thread when it makes another in the same memory.
void introduce(const ThreadRecord& thread) {
    ::syscall(SYS_set_robust_list, thread.robust_list, thread.robust_list_bytes);
    if (__rseq_size == 0) return;
    auto* area = reinterpret_cast<struct rseq*>(static_cast<char*>(__builtin_thread_pointer()) +
                                                __rseq_offset);
    if (::syscall(SYS_rseq, area, kRseqBytes, 0, RSEQ_SIG) != 0)
        area->cpu_id = static_cast<unsigned>(RSEQ_CPU_ID_REGISTRATION_FAILED);
}

Status forkCopy(const TwinParent& parent) {
    const pid_t child = ::fork();
    if (child == 0) return {};
    if (child < 0) return errnoError(errno, "fork");
    parent.run(parent.context, child, -1);
    ::_exit(127);
}

}  // namespace

ThreadRecord threadRecord() {
    ThreadRecord out;
    if (::syscall(SYS_get_robust_list, 0, &out.robust_list, &out.robust_list_bytes) != 0) return {};
    if (::prctl(PR_GET_TID_ADDRESS, &out.tid, 0, 0, 0) != 0) return {};
    return out;
}

Status forkTwin(const ThreadRecord& thread, const TwinParent& parent) {
    if (thread.tid == nullptr) return forkCopy(parent);
    if (::pipe2(g_pipe.data(), O_CLOEXEC) != 0) return errnoError(errno, "pipe");
    if (setjmp(g_return) != 0) {
        ::close(g_pipe[0]);
        introduce(thread);
        return {};
    }
    const pid_t child = ::clone(waitAlone, g_stack.data() + g_stack.size(),
                                CLONE_VM | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                                nullptr, nullptr, nullptr, thread.tid);
    if (child < 0) return errnoError(errno, "clone");
    // This frame is the child's to return from: the parent never does.
    parent.run(parent.context, child, g_pipe[1]);
    ::_exit(127);
}

}  // namespace aegis::launcher
