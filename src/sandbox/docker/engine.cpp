#include "sandbox/docker/engine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <map>

#include "os/clock.h"
#include "os/files.h"
#include "sandbox/common/one_line.h"
#include "sandbox/docker/engine_answers.h"
#include "wire/ndjson.h"
#include "wire/target.h"

namespace aegis::sandbox {
namespace {

constexpr int kOldestMinor = 41;
constexpr std::int64_t kVersionMs = 2'000;
constexpr std::size_t kMaxIdle = 16;
constexpr std::size_t kUploadPiece = 1 << 20;
constexpr std::size_t kMaxProgressLine = 256 << 10;
constexpr std::size_t kMaxRefusal = 64 << 10;
constexpr std::int64_t kSaveIdleMs = 30'000;

net::ClientRequest makeRequest(std::string method, std::string target) {
    net::ClientRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    return request;
}

/// "1.41" to 41; nullopt for what is no version of API 1.
std::optional<int> minorOf(std::string_view version) {
    if (!version.starts_with("1.")) return std::nullopt;
    version.remove_prefix(2);
    int minor = 0;
    const auto [end, error] =
        std::from_chars(version.data(), version.data() + version.size(), minor);
    if (error != std::errc{} || end != version.data() + version.size()) return std::nullopt;
    return minor;
}

std::string containerPath(const std::string& id, std::string_view rest) {
    return fmt::format("/containers/{}{}", wire::percentEncode(id), rest);
}

}  // namespace

Result<net::Endpoint> parseDockerHost(const std::string& text) {
    auto endpoint = net::parseEndpoint(text, 2375);
    if (!endpoint) return std::move(endpoint.error()).within("docker_host");
    if (!endpoint->is_unix)
        return {ErrorCode::kUnsupported,
                fmt::format("docker_host {}: only an engine on this machine can be used", text),
                "use unix:///var/run/docker.sock"};
    return endpoint;
}

/// A connection for one exchange; goes back to the idle ones only if it ended well.
class Engine::Lease {
  public:
    explicit Lease(Engine& engine) : engine_(engine) {
        std::lock_guard lock(engine.mutex_);
        if (!engine.idle_.empty()) {
            connection_ = std::move(engine.idle_.back());
            engine.idle_.pop_back();
        } else {
            connection_ = std::make_unique<net::HttpConnection>(engine.endpoint_);
        }
        if (engine.stopped_) connection_->cancel();
        engine.busy_.insert(connection_.get());
    }
    ~Lease() {
        std::lock_guard lock(engine_.mutex_);
        engine_.busy_.erase(connection_.get());
        if (reusable_ && engine_.idle_.size() < kMaxIdle)
            engine_.idle_.push_back(std::move(connection_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    net::HttpConnection& operator*() { return *connection_; }
    void giveBack() { reusable_ = true; }

  private:
    Engine& engine_;
    std::unique_ptr<net::HttpConnection> connection_;
    bool reusable_ = false;
};

Engine::Engine(net::Endpoint endpoint) : endpoint_(std::move(endpoint)) {}
Engine::~Engine() = default;

void Engine::stop() {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    for (auto* connection : busy_)
        connection->cancel();
}

Error Engine::transportError(Error error) const {
    const auto where = endpoint_.str();
    const bool closed_to_us = ::access(endpoint_.path.c_str(), R_OK | W_OK) != 0 && errno == EACCES;
    if (error.code == ErrorCode::kPermissionDenied || closed_to_us)
        return {ErrorCode::kPermissionDenied,
                fmt::format("no permission to use Docker Engine at {}", where),
                "run the daemon as root or as a member of the group `docker`"};
    if (error.code == ErrorCode::kUnreachable)
        return {ErrorCode::kUnreachable,
                fmt::format("Docker Engine is not reachable at {}: {}", where, error.message),
                "start it with `systemctl start docker` (or run dockerd), or set "
                "runtime.docker_host"};
    if (error.code == ErrorCode::kTimeout)
        return {ErrorCode::kTimeout, fmt::format("Docker Engine at {} does not answer", where)};
    if (error.code == ErrorCode::kInvalid || error.code == ErrorCode::kTooLarge)
        error.code = ErrorCode::kUnavailable;
    return std::move(error).within(fmt::format("Docker Engine at {}", where));
}

Result<net::ClientResponse> Engine::exchange(const net::ClientRequest& request, Deadline deadline) {
    Lease lease(*this);
    auto response = (*lease).request(request, deadline);
    if (!response) return transportError(std::move(response.error()));
    lease.giveBack();
    return response;
}

Result<EngineVersion> Engine::version(Deadline deadline) {
    AEGIS_TRY(auto response, exchange(makeRequest("GET", "/version"), deadline));
    if (response.status != 200) return engineError(response.status, response.body);
    AEGIS_TRY(auto answer, parseAnswer(response.body));
    const std::string api(json::getString(answer, "ApiVersion"));
    const auto newest = minorOf(api);
    if (!newest)
        return {ErrorCode::kUnavailable,
                fmt::format("{} does not answer like Docker Engine", endpoint_.str())};
    if (*newest < kOldestMinor)
        return {ErrorCode::kUnsupported,
                fmt::format("Docker Engine speaks API {}; 1.{} is needed", api, kOldestMinor),
                "install Docker Engine 20.10 or later"};
    // The oldest version that both know: newer ones change defaults.
    const auto oldest = minorOf(json::getString(answer, "MinAPIVersion"));
    api_minor_ = std::max(kOldestMinor, oldest.value_or(kOldestMinor));
    return EngineVersion{oneLine(json::getString(answer, "Version")), api};
}

Result<std::string> Engine::prefix(Deadline deadline) {
    if (api_minor_ == 0) {
        auto agreed = version(deadline);
        if (!agreed) return std::move(agreed.error());
    }
    return fmt::format("/v1.{}", api_minor_.load());
}

Result<net::ClientResponse> Engine::call(std::string method, const std::string& path,
                                         const json::Object* body, Deadline deadline) {
    AEGIS_TRY(auto version_prefix, prefix(deadline));
    auto request = makeRequest(std::move(method), version_prefix + path);
    if (body != nullptr) {
        request.headers.set("Content-Type", "application/json");
        request.body = json::dump(*body);
    }
    AEGIS_TRY(auto response, exchange(request, deadline));
    if (response.status >= 400 || response.status < 200)
        return engineError(response.status, response.body);
    return response;
}

Result<json::Value> Engine::get(const std::string& path, Deadline deadline) {
    AEGIS_TRY(auto response, call("GET", path, nullptr, deadline));
    return parseAnswer(response.body);
}

Status Engine::streamed(net::ClientRequest request, Deadline deadline, const OnBody& take) {
    AEGIS_TRY(auto version_prefix, prefix(deadline));
    request.target = version_prefix + request.target;
    int status = 0;
    std::string refusal;
    Status taken;
    Lease lease(*this);
    auto response = (*lease).stream(
        request, deadline,
        [&](const wire::ResponseHead& head) {
            status = head.status;
            return true;
        },
        [&](std::string_view chunk) {
            if (status == 200)
                taken = take(chunk);
            else
                refusal.append(
                    chunk.substr(0, kMaxRefusal - std::min(kMaxRefusal, refusal.size())));
            return taken.has_value();
        });
    if (!taken) return taken;
    if (!response) return transportError(std::move(response.error()));
    if (status != 200) return engineError(status, refusal);
    lease.giveBack();
    return {};
}

Status Engine::progress(net::ClientRequest request, Deadline deadline, const OnLine& on_line) {
    wire::LineSplitter lines(kMaxProgressLine);
    Status failure;
    const auto line = [&](std::string_view text) {
        if (!failure) return;
        auto value = parseAnswer(text);
        failure = value ? progressError(*value) : Status(std::move(value.error()));
        if (failure) failure = on_line(*value);
    };
    AEGIS_CHECK(streamed(std::move(request), deadline, [&](std::string_view chunk) {
        if (auto fed = lines.feed(chunk, line); !fed) failure = std::move(fed);
        return failure;
    }));
    AEGIS_CHECK(lines.finish(line));
    return failure;
}

Result<ImageInfo> Engine::inspectImage(const std::string& reference, Deadline deadline) {
    AEGIS_TRY(auto answer,
              get(fmt::format("/images/{}/json", wire::percentEncode(reference, true)), deadline));
    return imageInfo(answer);
}

Status Engine::pullImage(const std::string& reference, Deadline deadline) {
    const auto name = splitReference(reference);
    return progress(makeRequest("POST", fmt::format("/images/create?fromImage={}&tag={}",
                                                    wire::percentEncode(name.repository),
                                                    wire::percentEncode(name.tag))),
                    deadline, [](const json::Value&) { return Status{}; });
}

Result<std::string> Engine::importImage(const net::BodySource& tar, const std::string& reference,
                                        const std::vector<std::string>& changes,
                                        Deadline deadline) {
    const auto name = splitReference(reference);
    auto target = fmt::format("/images/create?fromSrc=-&repo={}&tag={}",
                              wire::percentEncode(name.repository), wire::percentEncode(name.tag));
    for (const auto& change : changes)
        target += "&changes=" + wire::percentEncode(change);
    auto request = makeRequest("POST", std::move(target));
    request.headers.set("Content-Type", "application/x-tar");
    request.body_source = tar;
    std::string id;
    AEGIS_CHECK(progress(std::move(request), deadline, [&id](const json::Value& line) -> Status {
        const auto status = json::getString(line, "status");
        if (status.starts_with("sha256:")) id = status;
        return {};
    }));
    if (id.empty()) return {ErrorCode::kUnavailable, "Docker Engine did not name the new image"};
    return id;
}

Result<std::string> Engine::loadImage(const std::string& path, Deadline deadline) {
    AEGIS_TRY(os::Fd file, os::openFile(path, O_RDONLY | O_NONBLOCK));
    auto request = makeRequest("POST", "/images/load?quiet=1");
    request.headers.set("Content-Type", "application/x-tar");
    request.body_source = [&file, &path]() -> Result<std::string> {
        std::string piece(kUploadPiece, '\0');
        ssize_t n;
        do
            n = ::read(file.get(), piece.data(), piece.size());
        while (n < 0 && errno == EINTR);
        if (n < 0) return errnoError(errno, path);
        piece.resize(static_cast<std::size_t>(n));
        return piece;
    };
    std::string loaded;
    AEGIS_CHECK(progress(std::move(request), deadline, [&](const json::Value& line) -> Status {
        const auto name = loadedReference(json::getString(line, "stream"));
        if (loaded.empty()) loaded = name;
        return {};
    }));
    if (loaded.empty())
        return {ErrorCode::kInvalid, path + ": holds no image", "make it with `docker save`"};
    return loaded;
}

Status Engine::saveImage(const std::string& reference, int fd, std::uint64_t limit,
                         Deadline deadline) {
    auto request =
        makeRequest("GET", fmt::format("/images/{}/get", wire::percentEncode(reference, true)));
    request.idle_ms = kSaveIdleMs;
    return streamed(std::move(request), deadline, [&](std::string_view chunk) -> Status {
        if (chunk.size() > limit)
            return {ErrorCode::kTooLarge, fmt::format("image {} is too large", reference)};
        limit -= chunk.size();
        return os::writeAll(fd, chunk);
    });
}

Status Engine::watchImages(const std::function<void()>& changed) {
    AEGIS_TRY(auto version_prefix, prefix(Deadline::in(os::systemClock().boot(), kVersionMs)));
    const json::Object filters{{"type", json::Array{"image"}}};
    const auto request = makeRequest(
        "GET", version_prefix + "/events?filters=" + wire::percentEncode(json::dump(filters)));
    bool accepted = false;
    Lease lease(*this);
    auto response = (*lease).stream(
        request, Deadline::never(),
        [&](const wire::ResponseHead& head) {
            accepted = head.status == 200;
            if (accepted) changed();
            return accepted;
        },
        [&](std::string_view) {
            changed();
            return true;
        });
    if (!response) return transportError(std::move(response.error()));
    return {};
}

Status Engine::removeImage(const std::string& reference, Deadline deadline) {
    auto response =
        call("DELETE", "/images/" + wire::percentEncode(reference, true), nullptr, deadline);
    return response ? Status{} : Status{std::move(response.error())};
}

Result<std::string> Engine::createContainer(const std::string& name, const json::Object& config,
                                            Deadline deadline) {
    AEGIS_TRY(auto response, call("POST", "/containers/create?name=" + wire::percentEncode(name),
                                  &config, deadline));
    AEGIS_TRY(auto answer, parseAnswer(response.body));
    std::string id(json::getString(answer, "Id"));
    if (!isContainerId(id))
        return {ErrorCode::kUnavailable, "Docker Engine did not name the new container"};
    return id;
}

Status Engine::startContainer(const std::string& id, Deadline deadline) {
    auto response = call("POST", containerPath(id, "/start"), nullptr, deadline);
    return response ? Status{} : Status{std::move(response.error())};
}

Status Engine::renameContainer(const std::string& id, const std::string& name, Deadline deadline) {
    auto response = call("POST", containerPath(id, "/rename?name=" + name), nullptr, deadline);
    return response ? Status{} : Status{std::move(response.error())};
}

Status Engine::killContainer(const std::string& id, Deadline deadline) {
    auto response = call("POST", containerPath(id, "/kill?signal=KILL"), nullptr, deadline);
    return response ? Status{} : Status{std::move(response.error())};
}

Status Engine::removeContainer(const std::string& id_or_name, Deadline deadline) {
    auto response = call("DELETE", containerPath(id_or_name, "?force=1&v=1"), nullptr, deadline);
    if (!response && response.error().code != ErrorCode::kNotFound)
        return std::move(response.error());
    return {};
}

Status Engine::setPidsLimit(const std::string& id, int limit, Deadline deadline) {
    const json::Object body{{"PidsLimit", limit}};
    auto response = call("POST", containerPath(id, "/update"), &body, deadline);
    return response ? Status{} : Status{std::move(response.error())};
}

Result<ContainerState> Engine::inspectContainer(const std::string& id, Deadline deadline) {
    AEGIS_TRY(auto answer, get(containerPath(id, "/json"), deadline));
    return containerState(answer);
}

Status Engine::waitContainer(const std::string& id, Deadline deadline) {
    auto response =
        call("POST", containerPath(id, "/wait?condition=not-running"), nullptr, deadline);
    return response ? Status{} : Status{std::move(response.error())};
}

Result<std::vector<ContainerSummary>> Engine::listContainers(const std::string& label,
                                                             Deadline deadline) {
    const json::Object filters{{"label", json::Array{label}}};
    AEGIS_TRY(auto answer,
              get("/containers/json?all=1&filters=" + wire::percentEncode(json::dump(filters)),
                  deadline));
    return containerList(answer);
}

}  // namespace aegis::sandbox
