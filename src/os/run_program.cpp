#include "os/run_program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "os/clock.h"
#include "os/fd.h"

namespace aegis::os {
namespace {

constexpr std::string_view kSystemPath = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";
constexpr std::size_t kKeptErrorBytes = 512;

Result<pid_t> spawnWith(const std::vector<std::string>& argv, int error_fd, bool keep_environment) {
    std::vector<char*> args;
    for (const auto& arg : argv)
        args.push_back(const_cast<char*>(arg.c_str()));
    args.push_back(nullptr);
    auto path = fmt::format("PATH={}", kSystemPath);
    std::array<char*, 2> env{path.data(), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, error_fd, 2);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    pid_t pid = -1;
    int err = ::posix_spawn(&pid, args[0], &actions, &attributes, args.data(),
                            keep_environment ? environ : env.data());
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (err != 0) return errnoError(err, argv[0]);
    return pid;
}

/// Everything until end of file; false when the deadline came first.
bool drain(int fd, Deadline deadline, const RunOptions& options, std::string& kept) {
    std::array<char, 4096> chunk{};
    while (true) {
        auto left = deadline.leftMs(systemClock().boot());
        if (left == 0) return false;
        pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
        int ready = ::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
        if (ready <= 0) continue;
        ssize_t n = ::read(fd, chunk.data(), chunk.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return true;
        if (options.on_error_text)
            options.on_error_text({chunk.data(), static_cast<std::size_t>(n)});
        kept.append(chunk.data(), static_cast<std::size_t>(n));
        if (kept.size() > kKeptErrorBytes) kept.erase(0, kept.size() - kKeptErrorBytes);
    }
}

std::string oneLine(std::string text) {
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    for (char& c : text)
        if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    return text;
}

}  // namespace

Result<std::string> findProgram(const std::string& name) {
    const char* own = std::getenv("PATH");
    auto path = fmt::format("{}:{}", own != nullptr ? own : "", kSystemPath);
    for (std::size_t at = 0; at <= path.size();) {
        auto end = std::min(path.find(':', at), path.size());
        auto candidate = fmt::format("{}/{}", path.substr(at, end - at), name);
        if (candidate.front() == '/' && end > at && ::access(candidate.c_str(), X_OK) == 0)
            return candidate;
        at = end + 1;
    }
    return {ErrorCode::kNotFound, fmt::format("the program {} is not installed", name)};
}

Status runProgram(const std::vector<std::string>& argv, Deadline deadline) {
    return runProgram(argv, deadline, {});
}

Status runProgram(const std::vector<std::string>& argv, Deadline deadline,
                  const RunOptions& options) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errnoError(errno, "pipe");
    Fd reader(ends[0]), writer(ends[1]);
    AEGIS_TRY(pid_t pid, spawnWith(argv, writer.get(), options.keep_environment));
    writer.reset();
    std::string errors;
    bool ended = drain(reader.get(), deadline, options, errors);
    if (!ended) ::kill(pid, SIGKILL);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!ended) return {ErrorCode::kTimeout, fmt::format("{}: did not end in time", argv[0])};
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return {ErrorCode::kIo,
            fmt::format("{}: {}", argv[0], errors.empty() ? "failed" : oneLine(std::move(errors)))};
}

}  // namespace aegis::os
