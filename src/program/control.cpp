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
constexpr std::int64_t kReloadMs = 15'000;
constexpr std::uint64_t kMaxOutcomeBytes = 1U << 20U;

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

int showReloaded(cli::Context& context, const json::Value& outcome) {
    json::Array waiting;
    if (const auto* names = json::find(outcome, "needs_restart"); names && names->is_array())
        waiting = names->get_array();
    for (const auto& name : waiting)
        context.warn(
            fmt::format("{} has changed and needs a restart", json::view(name.get_string())));
    if (context.format() != cli::OutputFormat::kTable)
        context.printValue(
            json::Object{{"status", "reloaded"}, {"needs_restart", std::move(waiting)}});
    else
        context.print("Daemon reads its configuration again\n");
    return 0;
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
    if (context.format() != cli::OutputFormat::kTable)
        context.printValue(
            json::Object{{"status", "stopped"}, {"pid", static_cast<std::int64_t>(running->pid)}});
    else
        context.print("Daemon stopped\n");
    return 0;
}

int reloadDaemon(cli::Context& context) {
    auto config = loadConfig(context.flags, true);
    if (!config) return context.fail(config.error());
    auto running = findDaemon(context.flags);
    if (!running) return context.fail(running.error());
    auto data_dir = dataDirOf(*config);
    if (!data_dir) return context.fail(data_dir.error());
    auto path = *data_dir + "/reload.json";
    // Left by an earlier reload: only what is written from now on is the answer.
    ::unlink(path.c_str());
    if (::kill(running->pid, SIGHUP) != 0)
        return context.fail(errnoError(errno, fmt::format("kill {}", running->pid)));
    auto deadline = Deadline::in(context.clock().boot(), kReloadMs);
    auto text = os::readFile(path, kMaxOutcomeBytes);
    while (!text) {
        if (deadline.passed(context.clock().boot()) || !held(running->lock.get()))
            return context.fail(
                {ErrorCode::kTimeout,
                 fmt::format("the daemon (pid {}) has not said what came of it", running->pid),
                 "look into its log"});
        os::pauseMs(kLookMs);
        text = os::readFile(path, kMaxOutcomeBytes);
    }
    auto outcome = json::parse(*text);
    if (!outcome) return context.fail(outcome.error());
    if (const auto* error = json::find(*outcome, "error"))
        return context.fail(
            {errorCodeFromName(json::getString(*error, "code")),
             fmt::format("nothing was applied: {}", json::getString(*error, "message")),
             std::string(json::getString(*error, "hint"))});
    return showReloaded(context, *outcome);
}

}  // namespace aegis::program
