#include "sandbox/docker/docker_runtime.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <future>

#include "base/log.h"
#include "os/clock.h"
#include "os/worker_pool.h"
#include "sandbox/common/sandbox_table.h"
#include "sandbox/docker/docker_sandbox.h"
#include "sandbox/docker/engine.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kAvailableMs = 2'000;
constexpr std::int64_t kCheckMs = 30'000;
constexpr std::int64_t kSweepMs = 60'000;
constexpr std::int64_t kStopMs = 10'000;
constexpr std::size_t kMaxQueue = 10'000;
constexpr int kSweepRounds = 3;
constexpr std::int64_t kExpireMs = 5'000;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

int hostCpus() { return static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN))); }

Status checkGuestDir(const std::string& dir) {
    if (!dir.starts_with('/'))
        return {ErrorCode::kInvalid,
                fmt::format("{}: the guest's directory must be absolute", dir)};
    for (const auto& [name, mode] : {std::pair{"init", X_OK}, std::pair{"bootstrap.py", R_OK}}) {
        const auto path = dir + "/" + name;
        if (::access(path.c_str(), mode) != 0)
            return std::move(errnoError(errno, path)).within("the guest's files are not complete");
    }
    return {};
}

/// Whose container it is; nullopt when its labels are not ours.
std::optional<ports::SandboxId> sandboxOf(const ContainerSummary& container) {
    const auto execution = container.labels.find(kLabelExecution);
    const auto ordinal = container.labels.find(kLabelSandbox);
    if (execution == container.labels.end() || ordinal == container.labels.end())
        return std::nullopt;
    const auto id = ExecutionId::parse(execution->second);
    int number = 0;
    const auto& text = ordinal->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (!id || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return ports::SandboxId{*id, number};
}

}  // namespace

struct DockerRuntime::Impl {
    Impl(const DockerOptions& options, net::Endpoint endpoint, RunDirs dirs)
        : node(options.node),
          engine(std::move(endpoint)),
          images(engine),
          run_dirs(std::move(dirs)),
          pool(options.threads, kMaxQueue),
          janitor(engine),
          warm({options.warm_size, options.warm_max_idle_ms, options.warm_max_size},
               {options.node, options.guest_dir, hostCpus(), engine, options.listeners, run_dirs,
                janitor}),
          sandboxes(reactor),
          context{options.node,
                  options.guest_dir,
                  hostCpus(),
                  engine,
                  images,
                  janitor,
                  warm,
                  {"docker", options.listeners, run_dirs, reactor, pool, roots,
                   [this](const ports::SandboxId& id) { sandboxes.erase(id); }}} {
        if (!warm.offered()) return;
        images.watch();
        reactor.post([this] { expireWarm(); });
    }

    // The reactor's thread ends first, then those that post to it; its object goes last.
    ~Impl() { reactor.stop(); }

    Status removeContainers(const std::vector<ContainerSummary>& stale, Deadline deadline);
    void expireWarm();

    const NodeId node;
    Engine engine;
    Images images;
    RunDirs run_dirs;
    RootTable roots;
    Reactor reactor;
    os::WorkerPool pool;
    Janitor janitor;
    WarmContainers warm;
    SandboxTable sandboxes;
    DockerContext context;
};

/// On the reactor's thread.
void DockerRuntime::Impl::expireWarm() {
    warm.expire();
    reactor.at(inMs(kExpireMs), [this] { expireWarm(); });
}

Status DockerRuntime::Impl::removeContainers(const std::vector<ContainerSummary>& stale,
                                             Deadline deadline) {
    std::vector<std::future<Status>> results;
    for (const auto& container : stale) {
        auto promise = std::make_shared<std::promise<Status>>();
        results.push_back(promise->get_future());
        auto job = [this, promise, id = container.id, deadline] {
            auto removed = engine.removeContainer(id, deadline);
            // Already under way is as good: the next round looks again.
            if (!removed && removed.error().code == ErrorCode::kConflict) removed = {};
            promise->set_value(std::move(removed));
        };
        if (!pool.submit(job)) job();
    }
    Status status;
    for (auto& result : results)
        if (auto one = result.get(); !one) status = std::move(one);
    return status;
}

Result<std::unique_ptr<DockerRuntime>> DockerRuntime::create(DockerOptions options,
                                                             Random& random) {
    AEGIS_TRY(auto endpoint, parseDockerHost(options.docker_host));
    AEGIS_CHECK(checkGuestDir(options.guest_dir));
    AEGIS_TRY(auto dirs, RunDirs::open(options.node, random, options.run_base));
    return std::unique_ptr<DockerRuntime>(
        new DockerRuntime(std::make_unique<Impl>(options, std::move(endpoint), std::move(dirs))));
}

DockerRuntime::DockerRuntime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

DockerRuntime::~DockerRuntime() {
    const auto deadline = inMs(kStopMs);
    // An engine that hangs does not keep the daemon: at the deadline its calls end.
    impl_->reactor.post([impl = impl_.get(), deadline] {
        impl->reactor.at(deadline, [impl] { impl->engine.stop(); });
    });
    auto closed = impl_->sandboxes.closeAll({}, deadline);
    impl_->warm.stop();
    if (closed) closed = available();  // else there is nothing to wait for
    if (closed) closed = impl_->janitor.drain(deadline);
    if (!closed)
        log(LogLevel::kWarn, "sandboxes are left for the next start to remove",
            {{"error", closed.error().message}});
    impl_->engine.stop();
}

Engine& DockerRuntime::engine() { return impl_->engine; }

std::size_t DockerRuntime::warmReady() { return impl_->warm.ready(); }

Status DockerRuntime::available() {
    auto version = impl_->engine.version(inMs(kAvailableMs));
    return version ? Status{} : Status{std::move(version.error())};
}

Result<ports::ImageFacts> DockerRuntime::checkImage(const std::string& image,
                                                    const std::string& policy) {
    return impl_->images.check(image, policy, inMs(kCheckMs));
}

void DockerRuntime::start(ports::SandboxSpec spec, Deadline deadline, ports::SandboxSink& sink) {
    if (!spec.prompt) spec.prompt = std::make_shared<const std::string>();
    impl_->sandboxes.start(
        std::make_shared<DockerSandbox>(impl_->context, std::move(spec), deadline, sink), sink);
}

void DockerRuntime::close(const ports::SandboxId& id, Deadline deadline,
                          std::function<void(Status)> done) {
    impl_->sandboxes.close(id, deadline, std::move(done));
}

void DockerRuntime::run(const ports::SandboxId& id, std::vector<std::string> command,
                        Deadline deadline, std::function<void(Result<ports::CommandResult>)> done) {
    impl_->sandboxes.run(id, std::move(command), deadline, std::move(done));
}

Result<os::Fd> DockerRuntime::root(const ports::SandboxId& id) { return impl_->roots.open(id); }

Status DockerRuntime::sweep(const std::set<ports::SandboxId>& keep) {
    const auto deadline = inMs(kSweepMs);
    AEGIS_CHECK(impl_->sandboxes.closeAll(keep, deadline));
    impl_->warm.clear();
    AEGIS_CHECK(available());  // else nothing more can be done, and need not be waited for
    AEGIS_CHECK(impl_->janitor.drain(deadline));
    // Those that were started ahead do not say for whom they work.
    std::set<std::string> kept_dirs;
    for (const auto& [id, run] : impl_->sandboxes.snapshot())
        if (!run.empty()) kept_dirs.insert(run);
    // Again until nothing is found: the engine may still be finishing what an earlier daemon asked
    // for.
    for (int round = 0; round < kSweepRounds; ++round) {
        AEGIS_TRY(const auto containers,
                  impl_->engine.listContainers(fmt::format("{}={}", kLabelNode, impl_->node.str()),
                                               deadline));
        std::vector<ContainerSummary> stale;
        for (const auto& container : containers) {
            const auto id = sandboxOf(container);
            const auto run = container.labels.find(kLabelRun);
            const bool known = run != container.labels.end() && kept_dirs.contains(run->second);
            if (!known && (!id || !keep.contains(*id)))
                stale.push_back(container);
            else if (run != container.labels.end())
                kept_dirs.insert(run->second);
        }
        if (stale.empty()) break;
        AEGIS_CHECK(impl_->removeContainers(stale, deadline));
    }
    return impl_->run_dirs.sweep(kept_dirs);
}

}  // namespace aegis::sandbox
