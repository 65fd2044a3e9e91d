// What PID 1 uses of a C library, under the names and declarations of the headers: system calls and
// a few functions on bytes.
//
// A static glibc begins by asking the processor some 25 times what it is (CPUID). In a virtual
// machine each answer is a trip to the hypervisor: 0.35 ms for every sandbox, more than this
// program works in most of them.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>

namespace {

int g_errno = 0;
constexpr long kMostErrors = 4095;
constexpr std::size_t kSignalSetBytes = 8;  // the kernel's

#if defined(__x86_64__)
long raw(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 asm("r10") = d;
    register long r8 asm("r8") = e;
    register long r9 asm("r9") = f;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
long raw(long number, long a, long b, long c, long d, long e, long f) {
    register long x8 asm("x8") = number;
    register long x0 asm("x0") = a;
    register long x1 asm("x1") = b;
    register long x2 asm("x2") = c;
    register long x3 asm("x3") = d;
    register long x4 asm("x4") = e;
    register long x5 asm("x5") = f;
    asm volatile("svc 0"
                 : "+r"(x0)
                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                 : "memory");
    return x0;
}
#else
#error "PID 1 does not know this machine's system calls"
#endif

template <class T>
long word(T value) {
    if constexpr (requires { reinterpret_cast<long>(value); })
        return reinterpret_cast<long>(value);
    else
        return static_cast<long>(value);
}

template <class... Args>
long call(long number, Args... args) {
    const long all[6] = {word(args)...};
    const long result = raw(number, all[0], all[1], all[2], all[3], all[4], all[5]);
    if (result >= 0 || result < -kMostErrors) return result;
    g_errno = static_cast<int>(-result);
    return -1;
}

template <class... Args>
int callInt(long number, Args... args) {
    return static_cast<int>(call(number, args...));
}

struct KernelAction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    std::uint64_t mask;
};

struct ErrorText {
    int code;
    const char* text;
};
constexpr ErrorText kErrorTexts[] = {
    {EPERM, "Operation not permitted"},   {ENOENT, "No such file or directory"},
    {EIO, "Input/output error"},          {E2BIG, "Argument list too long"},
    {ENOEXEC, "Exec format error"},       {EAGAIN, "Resource temporarily unavailable"},
    {ENOMEM, "Cannot allocate memory"},   {EACCES, "Permission denied"},
    {ENOTDIR, "Not a directory"},         {EISDIR, "Is a directory"},
    {EINVAL, "Invalid argument"},         {ENFILE, "Too many open files in system"},
    {EMFILE, "Too many open files"},      {ETXTBSY, "Text file busy"},
    {ENAMETOOLONG, "File name too long"}, {ELOOP, "Too many levels of symbolic links"}};

}  // namespace

extern "C" {

int runProgram(int argc, char** argv) asm("main");  // nothing may call main() itself

extern void (*__init_array_start[])(int, char**, char**);
extern void (*__init_array_end[])(int, char**, char**);

std::uintptr_t __stack_chk_guard = 0;

[[noreturn]] void __stack_chk_fail() {
    _exit(134);  // as an abort would show
}

// ---- functions on bytes ----

void* memcpy(void* to, const void* from, std::size_t size) {
    auto* out = static_cast<char*>(to);
    const auto* in = static_cast<const char*>(from);
    while (size-- > 0)
        *out++ = *in++;
    return to;
}

void* memmove(void* to, const void* from, std::size_t size) {
    auto* out = static_cast<char*>(to);
    const auto* in = static_cast<const char*>(from);
    if (out < in) return memcpy(to, from, size);
    while (size-- > 0)
        out[size] = in[size];
    return to;
}

void* memset(void* to, int byte, std::size_t size) {
    auto* out = static_cast<char*>(to);
    while (size-- > 0)
        *out++ = static_cast<char>(byte);
    return to;
}

int memcmp(const void* a, const void* b, std::size_t size) {
    const auto* x = static_cast<const unsigned char*>(a);
    const auto* y = static_cast<const unsigned char*>(b);
    for (; size > 0; --size, ++x, ++y)
        if (*x != *y) return *x - *y;
    return 0;
}

std::size_t strlen(const char* text) {
    std::size_t size = 0;
    while (text[size] != '\0')
        ++size;
    return size;
}

int strncmp(const char* a, const char* b, std::size_t size) {
    for (; size > 0; --size, ++a, ++b) {
        if (*a != *b) return static_cast<unsigned char>(*a) - static_cast<unsigned char>(*b);
        if (*a == '\0') return 0;
    }
    return 0;
}

// One overload of the headers' two, which differ in what they return.
const char* findByte(const char* text, int byte) asm("strchr");
const char* findByte(const char* text, int byte) {
    for (; *text != static_cast<char>(byte); ++text)
        if (*text == '\0') return nullptr;
    return text;
}

std::size_t strcspn(const char* text, const char* ends) {
    std::size_t size = 0;
    while (text[size] != '\0' && findByte(ends, text[size]) == nullptr)
        ++size;
    return size;
}

char* strerror(int code) {
    for (const ErrorText& known : kErrorTexts)
        if (known.code == code) return const_cast<char*>(known.text);
    static char unknown[] = "error 0000";
    for (char* digit = unknown + sizeof unknown - 2; *digit != ' '; --digit, code /= 10)
        *digit = static_cast<char>('0' + code % 10);
    return unknown;
}

cmsghdr* __cmsg_nxthdr(msghdr* message, cmsghdr* header) noexcept {
    auto* next = reinterpret_cast<char*>(header) + CMSG_ALIGN(header->cmsg_len);
    const auto* end = static_cast<char*>(message->msg_control) + message->msg_controllen;
    if (header->cmsg_len < sizeof(cmsghdr) || next + sizeof(cmsghdr) > end) return nullptr;
    auto* found = reinterpret_cast<cmsghdr*>(next);
    return next + CMSG_ALIGN(found->cmsg_len) > end ? nullptr : found;
}

// ---- system calls ----

int* __errno_location() noexcept { return &g_errno; }

void _exit(int code) {
    while (true)
        call(SYS_exit_group, code);
}

ssize_t read(int fd, void* out, std::size_t size) { return call(SYS_read, fd, out, size); }
ssize_t write(int fd, const void* bytes, std::size_t size) {
    return call(SYS_write, fd, bytes, size);
}
int close(int fd) { return callInt(SYS_close, fd); }
int pipe2(int* ends, int flags) noexcept { return callInt(SYS_pipe2, ends, flags); }
int chdir(const char* path) noexcept { return callInt(SYS_chdir, path); }
pid_t getpid() noexcept { return callInt(SYS_getpid); }
pid_t setsid() noexcept { return callInt(SYS_setsid); }
pid_t fork() noexcept { return callInt(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
pid_t waitpid(pid_t pid, int* status, int flags) {
    return callInt(SYS_wait4, pid, status, flags, 0);
}
int execve(const char* path, char* const* argv, char* const* env) noexcept {
    return callInt(SYS_execve, path, argv, env);
}
int dup2(int from, int to) noexcept { return callInt(SYS_dup3, from, to, 0); }  // never the same
int setrlimit(__rlimit_resource_t what, const rlimit* limit) noexcept {
    return callInt(SYS_prlimit64, 0, what, limit, 0);
}
int clock_gettime(clockid_t clock, timespec* out) noexcept {
    return callInt(SYS_clock_gettime, clock, out);
}

int open(const char* path, int flags, ...) { return callInt(SYS_openat, AT_FDCWD, path, flags, 0); }

int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    const long argument = va_arg(list, long);
    va_end(list);
    return callInt(SYS_fcntl, fd, command, argument);
}

int ioctl(int fd, unsigned long request, ...) noexcept {
    va_list list;
    va_start(list, request);
    void* argument = va_arg(list, void*);
    va_end(list);
    return callInt(SYS_ioctl, fd, request, argument);
}

int prctl(int option, ...) noexcept {
    va_list list;
    va_start(list, option);
    const long argument = va_arg(list, long);
    va_end(list);
    return callInt(SYS_prctl, option, argument, 0, 0, 0);
}

int kill(pid_t pid, int number) noexcept { return callInt(SYS_kill, pid, number); }

int sigemptyset(sigset_t* set) noexcept {
    *set = {};
    return 0;
}

int sigaddset(sigset_t* set, int number) noexcept {
    set->__val[0] |= 1UL << (number - 1);
    return 0;
}

int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
    return callInt(SYS_rt_sigprocmask, how, set, old, kSignalSetBytes);
}

int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
    return callInt(SYS_rt_sigtimedwait, set, info, timeout, kSignalSetBytes);
}

// For SIG_DFL and SIG_IGN: a function would have to be returned from.
sighandler_t signal(int number, sighandler_t handler) noexcept {
    const KernelAction action{handler, 0, nullptr, 0};
    return call(SYS_rt_sigaction, number, &action, nullptr, kSignalSetBytes) == 0 ? SIG_DFL
                                                                                  : SIG_ERR;
}

int signalfd(int fd, const sigset_t* set, int flags) noexcept {
    return callInt(SYS_signalfd4, fd, set, kSignalSetBytes, flags);
}

int poll(pollfd* polled, nfds_t count, int timeout_ms) {
    const timespec timeout{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000L};
    return callInt(SYS_ppoll, polled, count, timeout_ms < 0 ? nullptr : &timeout, 0, 0);
}

int epoll_create1(int flags) noexcept { return callInt(SYS_epoll_create1, flags); }
int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
    return callInt(SYS_epoll_ctl, epoll, operation, fd, event);
}
int epoll_wait(int epoll, epoll_event* events, int most, int timeout_ms) {
    return callInt(SYS_epoll_pwait, epoll, events, most, timeout_ms, 0, kSignalSetBytes);
}

int socket(int family, int type, int protocol) noexcept {
    return callInt(SYS_socket, family, type, protocol);
}
int socketpair(int family, int type, int protocol, int* ends) noexcept {
    return callInt(SYS_socketpair, family, type, protocol, ends);
}
int bind(int fd, const sockaddr* address, socklen_t size) noexcept {
    return callInt(SYS_bind, fd, address, size);
}
int listen(int fd, int backlog) noexcept { return callInt(SYS_listen, fd, backlog); }
int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
    return callInt(SYS_accept4, fd, address, size, flags);
}
int connect(int fd, const sockaddr* address, socklen_t size) {
    return callInt(SYS_connect, fd, address, size);
}
int shutdown(int fd, int how) noexcept { return callInt(SYS_shutdown, fd, how); }
int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
    return callInt(SYS_getsockname, fd, address, size);
}
int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
    return callInt(SYS_setsockopt, fd, level, name, value, size);
}
ssize_t send(int fd, const void* bytes, std::size_t size, int flags) {
    return call(SYS_sendto, fd, bytes, size, flags, 0, 0);
}
ssize_t recv(int fd, void* out, std::size_t size, int flags) {
    return call(SYS_recvfrom, fd, out, size, flags, 0, 0);
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
    return call(SYS_sendmsg, fd, message, flags);
}
ssize_t recvmsg(int fd, msghdr* message, int flags) {
    return call(SYS_recvmsg, fd, message, flags);
}

// ---- the start ----

/// What lies on the stack of a new program: argc, argv, environment, then what the kernel tells.
[[noreturn, gnu::used, gnu::no_stack_protector]] void startProgram(long* stack) {
    const int argc = static_cast<int>(stack[0]);
    auto** argv = reinterpret_cast<char**>(stack + 1);
    char** env = argv + argc + 1;
    auto* end = env;
    while (*end != nullptr)
        ++end;
    for (auto* told = reinterpret_cast<std::uintptr_t*>(end + 1); told[0] != AT_NULL; told += 2)
        if (told[0] == AT_RANDOM)
            __stack_chk_guard = *reinterpret_cast<const std::uintptr_t*>(told[1]) & ~0xffUL;
    for (auto** one = __init_array_start; one != __init_array_end; ++one)
        (*one)(argc, argv, env);
    _exit(runProgram(argc, argv));
}

#if defined(__x86_64__)
asm(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call startProgram");
#else
asm(".globl _start\n_start: mov x29, #0\n mov x0, sp\n b startProgram");
#endif

}  // extern "C"
