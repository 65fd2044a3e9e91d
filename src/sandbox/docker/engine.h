#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "net/http_client.h"
#include "text/json.h"

namespace aegis::sandbox {

struct EngineVersion {
    std::string engine;  ///< "20.10.24"
    std::string api;     ///< "1.41"
};

/// What an image says about how it wants to run.
struct ImageInfo {
    std::string id;  ///< "sha256:…"
    std::vector<std::string> env;
    std::string working_dir;
    std::vector<std::string> volumes;
    bool declares_command = false;  ///< an ENTRYPOINT or CMD, which a sandbox does not run
};

struct ContainerState {
    bool running = false;
    int pid = 0;  ///< of its first process on the host; 0 when not running
    int exit_code = 0;
    bool out_of_memory = false;
};

struct ContainerSummary {
    std::string id;
    std::map<std::string, std::string> labels;
};

/// Reads Docker's `docker_host`: only unix sockets ("unix:///var/run/docker.sock").
Result<net::Endpoint> parseDockerHost(const std::string& text);

/// A typed client of the Docker Engine API (1.41 and later; the version is agreed with the engine
/// at the first call). Every call blocks, at most until its deadline. Connections are kept alive
/// and reused. Any thread. Errors: kUnreachable (no engine: the hint says what to do),
/// kPermissionDenied (the socket is closed to this user), kNotFound, kConflict, kInvalid (the
/// engine refuses the request), kUnavailable (it failed: 5xx, or its answer makes no sense),
/// kTimeout, kIo.
class Engine {
  public:
    explicit Engine(net::Endpoint endpoint);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Ends all running calls, and every later one, with kCancelled.
    void stop();

    Result<EngineVersion> version(Deadline deadline);

    Result<ImageInfo> inspectImage(const std::string& reference, Deadline deadline);
    /// Fetches from a registry. Without a tag or digest: `latest`.
    Status pullImage(const std::string& reference, Deadline deadline);
    /// Makes an image from a root file system's tar stream; `changes` are Dockerfile instructions.
    /// Returns its id.
    Result<std::string> importImage(const net::BodySource& tar, const std::string& reference,
                                    const std::vector<std::string>& changes, Deadline deadline);
    /// Loads a `docker save` archive; returns the first name in it, or its id.
    Result<std::string> loadImage(const std::string& path, Deadline deadline);

    /// Writes a `docker save` archive of the image to `fd`: kTooLarge beyond `limit` bytes,
    /// kTimeout also when nothing comes for half a minute.
    Status saveImage(const std::string& reference, int fd, std::uint64_t limit, Deadline deadline);

    /// Blocks and calls `changed` once at the beginning and whenever the engine's images have
    /// changed, until the connection ends or stop().
    Status watchImages(const std::function<void()>& changed);

    /// Its name, and what no other name needs. kNotFound, kConflict (a container uses it).
    Status removeImage(const std::string& reference, Deadline deadline);

    /// Returns the id.
    Result<std::string> createContainer(const std::string& name, const json::Object& config,
                                        Deadline deadline);
    Status startContainer(const std::string& id, Deadline deadline);
    Status renameContainer(const std::string& id, const std::string& name, Deadline deadline);
    Status killContainer(const std::string& id, Deadline deadline);
    /// With its anonymous volumes, by force. kNotFound counts as success.
    Status removeContainer(const std::string& id_or_name, Deadline deadline);
    Status setPidsLimit(const std::string& id, int limit, Deadline deadline);
    Result<ContainerState> inspectContainer(const std::string& id, Deadline deadline);
    /// Until it does not run. Never call it before /start has answered: the engine may then hang.
    Status waitContainer(const std::string& id, Deadline deadline);
    /// In every state, by "key=value".
    Result<std::vector<ContainerSummary>> listContainers(const std::string& label,
                                                         Deadline deadline);

  private:
    class Lease;
    using OnLine = std::function<Status(const json::Value&)>;
    using OnBody = std::function<Status(std::string_view)>;

    Result<std::string> prefix(Deadline deadline);
    Result<net::ClientResponse> exchange(const net::ClientRequest& request, Deadline deadline);
    Result<net::ClientResponse> call(std::string method, const std::string& path,
                                     const json::Object* body, Deadline deadline);
    Result<json::Value> get(const std::string& path, Deadline deadline);
    /// The body of a good answer goes to `take` as it comes.
    Status streamed(net::ClientRequest request, Deadline deadline, const OnBody& take);
    Status progress(net::ClientRequest request, Deadline deadline, const OnLine& on_line);
    Error transportError(Error error) const;

    const net::Endpoint endpoint_;
    std::atomic<int> api_minor_{0};  // 0: not agreed yet
    std::mutex mutex_;
    std::vector<std::unique_ptr<net::HttpConnection>> idle_;
    std::set<net::HttpConnection*> busy_;
    bool stopped_ = false;
};

}  // namespace aegis::sandbox
