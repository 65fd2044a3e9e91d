#include "os/resolve.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <cctype>
#include <cerrno>
#include <cstring>

namespace aegis::os {
namespace {

Error bareError(int err) {
    Error error = errnoError(err, "");
    error.message = ::strerrordesc_np(err) != nullptr ? ::strerrordesc_np(err) : "unknown error";
    error.message[0] = static_cast<char>(std::tolower(error.message[0]));
    return error;
}

Result<Fd> openHow(int dir_fd, const char* path, std::uint64_t flags, std::uint64_t resolve) {
    open_how how{};
    how.flags = flags | O_CLOEXEC;
    how.resolve = resolve;
    // The kernel gives EAGAIN when a rename elsewhere disturbed its check of "..": ask again.
    for (int attempt = 0; attempt < 128; ++attempt) {
        auto fd = static_cast<int>(::syscall(SYS_openat2, dir_fd, path, &how, sizeof how));
        if (fd >= 0) return Fd(fd);
        if (errno != EAGAIN && errno != EINTR) return bareError(errno);
    }
    return {ErrorCode::kUnavailable, "the path keeps being renamed"};
}

}  // namespace

Result<Fd> openInRoot(int root, const std::string& path, std::uint64_t flags,
                      std::uint64_t resolve) {
    return openHow(root, path.c_str(), flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve);
}

Result<Fd> openChild(int dir_fd, const std::string& name, std::uint64_t flags) {
    return openHow(dir_fd, name.c_str(), flags | O_NOFOLLOW,
                   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

Result<Fd> reopen(int path_fd, int flags) {
    auto path = fmt::format("/proc/self/fd/{}", path_fd);
    Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
    if (!fd) return bareError(errno);
    return fd;
}

}  // namespace aegis::os
