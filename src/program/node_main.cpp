#include "program/node_main.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/log.h"
#include "daemon/daemon.h"
#include "node/node_facts.h"
#include "os/fd.h"
#include "os/files.h"
#include "os/log_sink.h"
#include "os/machine_probe.h"
#include "os/service_notify.h"
#include "program/ordinary_user.h"
#include "text/json.h"

namespace aegis::program {
namespace {

constexpr std::uint64_t kOpenFiles = 65'536;

std::optional<std::string> env(std::string_view name) {
    const char* value = std::getenv(std::string(name).c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

/// Runs the daemon until it is told to stop. `ready_fd` gets "ok <address>\n" or "error …";
/// `terminal` is closed when it is up, or whoever reads the command's stderr would wait for its
/// end.
int serve(cli::Context& context, const config::Config& config, const std::string& data_dir,
          int ready_fd, os::Fd* terminal) {
    auto tell = [&](const std::string& text) {
        if (ready_fd < 0) return;
        (void)os::writeAll(ready_fd, text);
        ::close(std::exchange(ready_fd, -1));
    };
    auto refuse = [&](const Error& error) {
        tell("error\n");
        return context.fail(error);
    };
    // While there is one thread.
    const auto prepared = prepareForSandboxes(config);
    daemon::blockSignals();
    os::raiseOpenFiles(kOpenFiles);
    static os::FdLogSink sink(STDERR_FILENO, os::LogFormat::kText);
    auto set_format = [](const std::string& name) {
        sink.setFormat(name == "json" ? os::LogFormat::kJson : os::LogFormat::kText);
    };
    set_format(config.observability.log_format);
    setLogSink(&sink);
    auto installation = daemon::findInstallation();
    if (!installation) return refuse(installation.error());
    auto flags = context.flags;
    daemon::DaemonOptions options{config,        data_dir,
                                  *installation, [flags] { return loadConfig(flags, false); },
                                  set_format,    {}};
    if (!prepared) {
        options.no_sandboxes = prepared.error();
        log(LogLevel::kWarn, "there is no isolation: process on this node",
            {{"reason", prepared.error().message}, {"hint", prepared.error().hint}});
    }
    auto running = daemon::Daemon::start(std::move(options));
    if (!running) return refuse(running.error());
    if (terminal != nullptr) terminal->reset();
    tell(fmt::format("ok {}\n", (*running)->address()));
    os::notifyServiceManager(fmt::format("READY=1\nSTATUS=Listening at {}", (*running)->address()));
    daemon::waitForStop(**running);
    os::notifyServiceManager("STOPPING=1");
    running->reset();
    return 0;
}

/// The parent's side of --detach: waits for the child's word.
int awaitReady(cli::Context& context, int read_fd, pid_t child, const std::string& log_path) {
    auto word = os::readAll(read_fd, 4096, "daemon");
    if (word && word->starts_with("ok ")) {
        auto address = word->substr(3, word->find('\n') - 3);
        if (context.format() != cli::OutputFormat::kTable)
            context.printValue(json::Object{{"status", "started"},
                                            {"pid", static_cast<std::int64_t>(child)},
                                            {"address", address}});
        else
            context.print(
                fmt::format("Daemon started at {} (pid {}, log {})\n", address, child, log_path));
        return 0;
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 10;
}

int detach(cli::Context& context, const config::Config& config, const std::string& data_dir) {
    auto log_path = data_dir + "/daemon.log";
    auto log_fd = os::openFile(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (!log_fd) return context.fail(log_fd.error());
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return context.fail(errnoError(errno, "pipe"));
    // No thread exists yet, so the child may go on as the daemon without an exec.
    pid_t child = ::fork();
    if (child < 0) return context.fail(errnoError(errno, "fork"));
    if (child > 0) {
        ::close(pipe[1]);
        os::Fd reader(pipe[0]);
        return awaitReady(context, reader.get(), child, log_path);
    }
    ::close(pipe[0]);
    ::setsid();
    // The terminal's stderr stays until the daemon is up: a start that fails is told there.
    os::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    ::dup2(null.get(), STDIN_FILENO);
    ::dup2(null.get(), STDOUT_FILENO);
    os::Fd terminal(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
    ::dup2(log_fd->get(), STDERR_FILENO);
    int code = serve(context, config, data_dir, pipe[1], &terminal);
    if (code != 0 && terminal) {
        auto tail = os::readFile(log_path, 1U << 20U);
        auto last = tail ? tail->substr(tail->find_last_of('\n', tail->size() - 2) + 1) : "";
        auto from = tail ? tail->rfind("error: ") : std::string::npos;
        (void)os::writeAll(terminal.get(), from == std::string::npos ? last : tail->substr(from));
    }
    return code;
}

}  // namespace

Result<config::ParsedConfig> parseConfigFile(const cli::GlobalFlags& flags) {
    std::string path = flags.config.empty() ? "aegis-config.yaml" : flags.config;
    auto text = os::readFile(path, config::kMaxConfigBytes);
    bool missing = !text && text.error().code == ErrorCode::kNotFound;
    if (missing && flags.config.empty()) return config::parseConfig("", path, ".", env);
    if (!text) return Error(ErrorCode::kInvalid, text.error().message);
    auto slash = path.find_last_of('/');
    return config::parseConfig(*text, path,
                               slash == std::string::npos ? "." : path.substr(0, slash), env);
}

Result<config::Config> loadConfig(const cli::GlobalFlags& flags, bool warn) {
    AEGIS_TRY(auto parsed, parseConfigFile(flags));
    if (warn) {
        for (const auto& warning : parsed.warnings)
            (void)os::writeAll(STDERR_FILENO, "warning: " + warning.str() + "\n");
    }
    return std::move(parsed.config);
}

Result<std::string> dataDirOf(const config::Config& config) {
    return config::resolveDataDir(config, ::geteuid() == 0, env);
}

int startDaemon(cli::Context& context, const cli::NodeCommands::Start& how) {
    auto config = loadConfig(context.flags, true);
    if (!config) return context.fail(config.error());
    auto data_dir = dataDirOf(*config);
    if (!data_dir) return context.fail(data_dir.error());
    if (auto made = os::makeDirs(*data_dir); !made) {
        const auto& error = made.error();
        bool nowhere = error.code == ErrorCode::kNotFound;
        return context.fail(
            {nowhere ? ErrorCode::kInvalid : error.code,
             fmt::format("the data directory cannot be made ({})", error.message),
             "set storage.data_dir, or $AEGIS_DATA_DIR, to a directory that can be written"});
    }
    if (!how.detach) return serve(context, *config, *data_dir, -1, nullptr);
    return detach(context, *config, *data_dir);
}

int validateConfig(cli::Context& context) {
    auto config = loadConfig(context.flags, true);
    if (!config) return context.fail(config.error());
    if (context.format() != cli::OutputFormat::kTable)
        context.printValue(json::Object{{"valid", true}});
    else
        context.print("The configuration is valid\n");
    return 0;
}

int dumpConfig(cli::Context& context) {
    auto config = loadConfig(context.flags, true);
    if (!config) return context.fail(config.error());
    // What `inherit` comes to here: the configuration's own default may not be what there is.
    auto data_dir = dataDirOf(*config);
    const bool ready = data_dir && node::embeddedReady(*config, *data_dir);
    auto in_force = node::nodeFacts(*config, {}, ready).default_isolation;
    config->runtime.isolation = agent::name(in_force);
    if (context.format() == cli::OutputFormat::kTable) context.flags.output = "yaml";
    context.printValue(config::configToJson(*config));
    return 0;
}

}  // namespace aegis::program
