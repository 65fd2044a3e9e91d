#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "base/time.h"
#include "config/config.h"
#include "os/machine_probe.h"
#include "os/mount.h"
#include "text/json.h"

namespace aegis::doctor {

/// A GET to a model provider that costs nothing.
struct ProviderRequest {
    std::string url;
    std::vector<std::pair<std::string, std::string>> headers;
    std::vector<std::pair<std::string, Secret>> secret_headers;
};
struct ProviderAnswer {
    int status = 0;
    std::string date;  ///< the Date field; empty if there was none
    std::string body;  ///< at most 1 MiB
    std::int64_t took_ms = 0;
};

/// All that the checks ask. Any thread, several at once; every call may block, none for ever.
class Machine {
  public:
    virtual ~Machine() = default;

    virtual UtcTime now() = 0;
    virtual std::string kernelRelease() = 0;  ///< "6.1.0-32-amd64"
    virtual bool isRoot() = 0;
    /// What an ordinary user's embedded sandboxes need: a cgroup to make theirs in, whose path it
    /// returns, and ids for their users.
    virtual Result<std::string> delegatedCgroup() = 0;
    virtual Status subordinateIds() = 0;
    virtual Result<std::string> read(const std::string& path) = 0;
    virtual bool hasProgram(const std::string& name) = 0;
    virtual Result<os::PathFacts> path(const std::string& path) = 0;
    virtual Result<os::Space> space(const std::string& path) = 0;
    virtual os::OpenFileLimits openFiles() = 0;
    virtual bool clockSynchronized() = 0;
    virtual Status userNamespace() = 0;
    virtual Result<int> landlock() = 0;
    virtual Status seccomp() = 0;
    virtual Status loopDevices() = 0;
    /// Success when the address can be listened on; kConflict when it is taken.
    virtual Status listen(const config::Address& address) = 0;
    virtual Result<ProviderAnswer> get(const ProviderRequest& request) = 0;

    /// The container engine's name and version: "Docker 20.10.24".
    virtual Result<std::string> engine() = 0;
    /// kNotFound when the engine does not have it.
    virtual Status image(const std::string& reference) = 0;
    /// What the daemon at `address` says of itself.
    virtual Result<json::Value> daemon(const std::string& address) = 0;
};

}  // namespace aegis::doctor
