#include "sandbox/docker/docker_runtime.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <future>
#include <map>
#include <thread>

#include "base/log.h"
#include "os/clock.h"
#include "os/worker_pool.h"
#include "sandbox/docker/engine.h"
#include "sandbox/docker/sandbox.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kAvailableMs = 2'000;
constexpr std::int64_t kCheckMs = 30'000;
constexpr std::int64_t kSweepMs = 60'000;
constexpr std::int64_t kStopMs = 10'000;
constexpr std::size_t kMaxQueue = 10'000;
constexpr int kSweepRounds = 3;
constexpr std::chrono::milliseconds kPollInterval{5};

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

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
          context{options.node,
                  options.guest_dir,
                  static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN))),
                  options.listeners,
                  engine,
                  images,
                  run_dirs,
                  janitor,
                  reactor,
                  pool,
                  roots,
                  [this](const ports::SandboxId& id) { sandboxes.erase(id); }} {}

    // The reactor's thread ends first, then those that post to it; its object goes last.
    ~Impl() { reactor.stop(); }

    /// The live sandboxes and the names of their run directories.
    std::map<ports::SandboxId, std::string> snapshot() {
        std::promise<std::map<ports::SandboxId, std::string>> promise;
        reactor.post([this, &promise] {
            std::map<ports::SandboxId, std::string> out;
            for (const auto& [id, sandbox] : sandboxes)
                out.emplace(id, sandbox->runName());
            promise.set_value(std::move(out));
        });
        return promise.get_future().get();
    }

    void close(const ports::SandboxId& id, Deadline deadline, std::function<void(Status)> done) {
        reactor.post([this, id, deadline, done = std::move(done)] {
            auto found = sandboxes.find(id);
            if (found == sandboxes.end()) return done({});
            // A copy: the sandbox may take itself out of the table.
            const auto sandbox = found->second;
            sandbox->close(deadline, done);
        });
    }

    /// Closes what lives but is not kept, and waits.
    Status closeAll(const std::set<ports::SandboxId>& keep, Deadline deadline);
    Status removeContainers(const std::vector<ContainerSummary>& stale, Deadline deadline);

    const NodeId node;
    Engine engine;
    Images images;
    RunDirs run_dirs;
    RootTable roots;
    Reactor reactor;
    os::WorkerPool pool;
    Janitor janitor;
    // On the reactor's thread. Shared: see Sandbox.
    std::map<ports::SandboxId, std::shared_ptr<Sandbox>> sandboxes;
    SandboxContext context;
};

Status DockerRuntime::Impl::closeAll(const std::set<ports::SandboxId>& keep, Deadline deadline) {
    std::vector<std::future<Status>> results;
    for (const auto& [id, unused] : snapshot()) {
        if (keep.contains(id)) continue;
        // Shared: the callback is copied on its way.
        auto promise = std::make_shared<std::promise<Status>>();
        results.push_back(promise->get_future());
        close(id, deadline, [promise](Status status) { promise->set_value(std::move(status)); });
    }
    Status status;
    for (auto& result : results)
        if (auto one = result.get(); !one) status = std::move(one);
    // Dead is reported as soon as it is so; the engine may still be busy with the start.
    while (!deadline.passed(os::systemClock().boot())) {
        const auto live = snapshot();
        if (std::all_of(live.begin(), live.end(),
                        [&](const auto& entry) { return keep.contains(entry.first); }))
            return status;
        std::this_thread::sleep_for(kPollInterval);
    }
    return status;
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
    auto closed = impl_->closeAll({}, deadline);
    if (closed) closed = available();  // else there is nothing to wait for
    if (closed) closed = impl_->janitor.drain(deadline);
    if (!closed)
        log(LogLevel::kWarn, "sandboxes are left for the next start to remove",
            {{"error", closed.error().message}});
    impl_->engine.stop();
}

Engine& DockerRuntime::engine() { return impl_->engine; }

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
    auto sandbox = std::make_shared<Sandbox>(impl_->context, std::move(spec), deadline, sink);
    impl_->reactor.post([impl = impl_.get(), sandbox, &sink] {
        const auto id = sandbox->spec().id;
        if (!impl->sandboxes.emplace(id, sandbox).second)
            return sink.failed(id, {ErrorCode::kConflict, "this sandbox exists already"}, false);
        sandbox->start();
    });
}

void DockerRuntime::close(const ports::SandboxId& id, Deadline deadline,
                          std::function<void(Status)> done) {
    impl_->close(id, deadline, std::move(done));
}

void DockerRuntime::run(const ports::SandboxId& id, std::vector<std::string> command,
                        Deadline deadline, std::function<void(Result<ports::CommandResult>)> done) {
    impl_->reactor.post(
        [impl = impl_.get(), id, command = std::move(command), deadline, done = std::move(done)] {
            auto found = impl->sandboxes.find(id);
            if (found == impl->sandboxes.end())
                return done(Error(ErrorCode::kNotFound, "the sandbox is not running"));
            const auto sandbox = found->second;
            sandbox->run(command, deadline, done);
        });
}

Result<os::Fd> DockerRuntime::root(const ports::SandboxId& id) { return impl_->roots.open(id); }

Status DockerRuntime::sweep(const std::set<ports::SandboxId>& keep) {
    const auto deadline = inMs(kSweepMs);
    AEGIS_CHECK(impl_->closeAll(keep, deadline));
    AEGIS_CHECK(available());  // else nothing more can be done, and need not be waited for
    AEGIS_CHECK(impl_->janitor.drain(deadline));
    std::set<std::string> kept_dirs;
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
            if (!id || !keep.contains(*id))
                stale.push_back(container);
            else if (run != container.labels.end())
                kept_dirs.insert(run->second);
        }
        if (stale.empty()) break;
        AEGIS_CHECK(impl_->removeContainers(stale, deadline));
    }
    for (const auto& [id, run] : impl_->snapshot())
        if (!run.empty()) kept_dirs.insert(run);
    return impl_->run_dirs.sweep(kept_dirs);
}

}  // namespace aegis::sandbox
