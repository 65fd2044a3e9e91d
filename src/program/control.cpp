// Telling a running daemon to stop or to reload: by the pid in its data directory.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <charconv>
#include <csignal>

#include "os/clock.h"
#include "os/files.h"
#include "program/node_main.h"

namespace aegis::program {
namespace {

constexpr std::int64_t kStopMs = 30'000;
constexpr std::int64_t kLookMs = 20;

struct Running {
    os::Fd lock;
    pid_t pid = 0;
};

/// Whether somebody holds the lock; a lock taken here is given back at once.
bool held(int fd) {
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return true;
    ::flock(fd, LOCK_UN);
    return false;
}

Result<Running> findDaemon(const cli::GlobalFlags& flags) {
    AEGIS_TRY(auto config, loadConfig(flags, false));
    AEGIS_TRY(auto data_dir, dataDirOf(config));
    Error none(ErrorCode::kUnreachable, fmt::format("no daemon runs on {}", data_dir),
               "start it with: aegis daemon start --detach");
    Running running;
    auto lock = os::openFile(data_dir + "/lock", O_RDONLY);
    if (!lock) return lock.error().code == ErrorCode::kNotFound ? none : lock.error();
    running.lock = std::move(*lock);
    if (!held(running.lock.get())) return none;
    AEGIS_TRY(auto text, os::readAll(running.lock.get(), 64, "lock"));
    int pid = 0;
    std::from_chars(text.data(), text.data() + text.size(), pid);
    if (pid <= 1) return Error(ErrorCode::kInternal, "the lock file names no process");
    running.pid = pid;
    return running;
}

}  // namespace

int stopDaemon(cli::Context& context) {
    auto running = findDaemon(context.flags);
    if (!running) return context.fail(running.error());
    if (::kill(running->pid, SIGTERM) != 0)
        return context.fail(errnoError(errno, fmt::format("kill {}", running->pid)));
    auto deadline = Deadline::in(context.clock().boot(), kStopMs);
    while (held(running->lock.get())) {
        if (deadline.passed(context.clock().boot()))
            return context.fail({ErrorCode::kTimeout,
                                 fmt::format("the daemon (pid {}) has not ended", running->pid)});
        os::pauseMs(kLookMs);
    }
    if (context.json())
        context.printValue(json::Object{{"status", "stopped"},
                                        {"pid", static_cast<std::int64_t>(running->pid)}});
    else
        context.print("Daemon stopped\n");
    return 0;
}

int reloadDaemon(cli::Context& context) {
    // Errors of the file are told here; the daemon itself can only write them to its log.
    if (auto config = loadConfig(context.flags, true); !config) return context.fail(config.error());
    auto running = findDaemon(context.flags);
    if (!running) return context.fail(running.error());
    if (::kill(running->pid, SIGHUP) != 0)
        return context.fail(errnoError(errno, fmt::format("kill {}", running->pid)));
    context.print("Daemon reads its configuration again\n");
    return 0;
}

}  // namespace aegis::program
