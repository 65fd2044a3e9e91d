#include "sandbox/docker/warm.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <tuple>

#include "base/log.h"
#include "os/clock.h"
#include "os/socket.h"
#include "sandbox/common/payload.h"
#include "sandbox/docker/container_config.h"

namespace aegis::sandbox {
namespace {

constexpr std::size_t kShapes = 8;  // at once
constexpr std::size_t kMaxUnfit = 256;
constexpr std::int64_t kMakeMs = 60'000;
constexpr std::int64_t kConnectMs = 10'000;

auto parts(const Shape& shape) {
    return std::tie(shape.image.id, shape.cpu_millicores, shape.memory_bytes, shape.tmp_bytes,
                    shape.pids, shape.places);
}

/// PID 1's connection. Only what the engine says is the container's first process is believed.
Result<CtlPeer> awaitFirstProcess(int listener, pid_t pid, Deadline deadline) {
    while (true) {
        AEGIS_CHECK(os::waitReady(listener, POLLIN, deadline));
        AEGIS_TRY(auto peer, acceptCtl(listener));
        if (!peer) continue;
        if (peer->first_process && peer->pid == pid) return std::move(*peer);
        return {ErrorCode::kPermissionDenied,
                "a process that is not the container's first one took its control socket"};
    }
}

}  // namespace

std::strong_ordering Shape::operator<=>(const Shape& other) const {
    return parts(*this) <=> parts(other);
}

std::optional<Shape> shapeOf(const ports::SandboxSpec& spec, const ImageInfo& image,
                             const std::vector<OpenMount>& mounts) {
    if (!startsManaged(spec)) return std::nullopt;
    return Shape{image,          spec.cpu_millicores, spec.memory_bytes,
                 spec.tmp_bytes, spec.pids,           placesOf(mounts)};
}

WarmContainers::WarmContainers(WarmOptions options, Context context)
    : context_(std::move(context)),
      max_size_(options.max_size),
      offered_(options.size > 0 || options.max_size > 0),
      stock_({options.size, kShapes, options.max_idle_ms},
             {[this](const Shape& shape) { return make(shape); },
              [this](WarmContainer container) { discard(std::move(container)); },
              [](const WarmContainer& container) { return !hasEnded(container.peer.pidfd); }}) {}

std::optional<WarmContainer> WarmContainers::take(const Shape& shape) { return stock_.take(shape); }

void WarmContainers::restock(const Shape& shape, std::optional<int> keep) {
    {
        std::lock_guard lock(mutex_);
        if (unfit_.contains(shape)) return;
    }
    std::optional<std::size_t> each;
    if (keep) each = std::min(static_cast<std::size_t>(*keep), max_size_);
    stock_.restock(shape, each);
}

void WarmContainers::refuse(const Shape& shape, WarmContainer container) {
    {
        std::lock_guard lock(mutex_);
        if (unfit_.size() < kMaxUnfit) unfit_.insert(shape);
    }
    discard(std::move(container));
}

Result<WarmContainer> WarmContainers::make(const Shape& shape) {
    WarmContainer container;
    auto made = start(shape, container);
    if (made) return container;
    log(LogLevel::kWarn, "no container can be started ahead", {{"error", made.error().message}});
    discard(std::move(container));
    return std::move(made.error());
}

Status WarmContainers::start(const Shape& shape, WarmContainer& container) {
    const auto deadline = Deadline::in(os::systemClock().boot(), kMakeMs);
    AEGIS_CHECK(makeRun(container.run, context_.run_dirs, context_.listeners));
    const auto& dir = *container.run.dir;
    AEGIS_CHECK(writeHosts(dir));
    ports::SandboxSpec spec;
    spec.cpu_millicores = shape.cpu_millicores;
    spec.memory_bytes = shape.memory_bytes;
    spec.tmp_bytes = shape.tmp_bytes;
    spec.pids = shape.pids;
    const ContainerPlan plan{.spec = &spec,
                             .node = context_.node,
                             .image = &shape.image,
                             .places = &shape.places,
                             .run = dir,
                             .guest_dir = context_.guest_dir,
                             .host_cpus = context_.host_cpus,
                             .ahead = true};
    const auto name = fmt::format("aegis-warm-{}-{}", context_.node.str(), dir.name);
    // Until the engine has answered, the container may or may not exist, under this name.
    container.id = name;
    AEGIS_TRY(container.id, context_.engine.createContainer(name, containerConfig(plan), deadline));
    AEGIS_CHECK(context_.engine.startContainer(container.id, deadline));
    AEGIS_TRY(const auto state, context_.engine.inspectContainer(container.id, deadline));
    const auto connected = Deadline::in(os::systemClock().boot(), kConnectMs);
    AEGIS_TRY(container.peer,
              awaitFirstProcess(container.run.listener.get(), state.pid, connected));
    container.run.listener.reset();
    AEGIS_TRY(container.peer.memory, watchMemory(container.peer.proc_cgroup));
    // Before any foreign code runs.
    if (shape.pids > 0 && shape.pids + 1 < kPidsToStart)
        AEGIS_CHECK(context_.engine.setPidsLimit(container.id, shape.pids + 1, deadline));
    AEGIS_TRY(const auto message, prepareMessage({shape.image.env, shape.image.working_dir}));
    return sendCtl(container.peer.connection.get(), message);
}

void WarmContainers::discard(WarmContainer container) {
    if (container.peer.pidfd) static_cast<void>(killProcess(container.peer.pidfd));
    Remains remains;
    remains.container = std::move(container.id);
    remains.run = std::move(container.run.dir);
    remains.listener = std::move(container.run.guest_listener);
    context_.janitor.take(std::move(remains));
}

}  // namespace aegis::sandbox
