#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace aegis::daemon {

/// Where the program's own files are: beside the binary in a build, under share/ when installed.
struct Installation {
    std::string guest_dir;   ///< init and bootstrap.py
    std::string images_dir;  ///< recipes of base images
};
/// kNotFound when the files are not where they should be.
Result<Installation> findInstallation();

struct DaemonOptions {
    config::Config config;
    std::string data_dir;
    Installation installation;
    /// Reads the configuration again for a reload.
    std::function<Result<config::Config>()> reread;
    /// Makes the log "text" or "json".
    std::function<void(const std::string& name)> set_log_format;
    /// Why this process, an ordinary user's, cannot have embedded sandboxes.
    std::optional<Error> no_sandboxes;
};

/// A running node. Made and destroyed on the main thread.
class Daemon {
  public:
    /// Listening and serving when it returns; unfinished executions are picked up in the
    /// background. kConflict when the data directory or the address is taken.
    static Result<std::unique_ptr<Daemon>> start(DaemonOptions options);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// The address as clients should use it: "localhost:9090".
    std::string address() const;
    /// Applies providers, aliases, limits, certificates, log level and format; all the old ones
    /// stay if it fails. What came of it is also written to <data_dir>/reload.json.
    Status reload();

  private:
    struct Parts;
    Result<std::vector<std::string>> apply();
    explicit Daemon(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

/// Blocks SIGTERM, SIGINT and SIGHUP for the calling thread and those it makes: call it before
/// Daemon::start().
void blockSignals();
/// Waits for signals: HUP reloads, TERM and INT return.
void waitForStop(Daemon& daemon);

}  // namespace aegis::daemon
