#include "sandbox/process/process_runtime.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "base/log.h"
#include "os/clock.h"
#include "os/delegation.h"
#include "os/files.h"
#include "os/user_namespace.h"
#include "os/worker_pool.h"
#include "sandbox/common/sandbox_table.h"
#include "sandbox/process/process_sandbox.h"
#include "sandbox/process/seccomp_filter.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kTrialMs = 10'000;
constexpr std::int64_t kSweepMs = 60'000;
constexpr std::int64_t kStopMs = 10'000;
constexpr std::size_t kMaxQueue = 10'000;
constexpr std::uint64_t kTrialTmpBytes = 1 << 20;
constexpr std::uint64_t kMaxPath = 4096;

std::string hexWord(Random& random) {
    std::array<std::byte, 4> bytes{};
    random.fill(bytes);
    std::string out;
    for (const auto byte : bytes)
        out += fmt::format("{:02x}", static_cast<unsigned>(byte));
    return out;
}

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

/// All that a dead daemon of this node left in the part of the tree that was delegated to it.
Status clearAll(const std::string& directory, const std::string& node) {
    const auto deadline = inMs(kSweepMs);
    AEGIS_TRY(const auto tree, os::CgroupTree::openAt({directory}, true, node));
    AEGIS_TRY(const auto groups, tree.list());
    for (const auto& group : groups)
        if (auto gone = tree.destroy(group, deadline); !gone)
            return std::move(gone.error()).within("what the last daemon left in " + directory);
    tree.close();
    return {};
}

}  // namespace

struct ProcessRuntime::Impl {
    Impl(const ProcessOptions& options, SeccompFilters all_filters, std::string suffix,
         os::Fd guest_dir, ports::RootImages& images, RunDirs dirs)
        : node(options.node),
          guest_path(options.guest_dir),
          warm(options.warm),
          filters(std::move(all_filters)),
          group_suffix(std::move(suffix)),
          delegation_file(options.delegation_file),
          refused(options.refused),
          launcher(options.launcher_command, filters.sandbox),
          run_dirs(std::move(dirs)),
          sandboxes(reactor),
          context{static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN))),
                  std::move(guest_dir),
                  images,
                  launcher,
                  nullptr,
                  nullptr,
                  {"process", options.listeners, run_dirs, reactor, pool, roots,
                   [this](const ports::SandboxId& id) { sandboxes.erase(id); }},
                  [this] { return available(); }},
          pool(options.threads, kMaxQueue) {}

    // The reactor's thread ends first, then those that post to it; its object goes last.
    ~Impl() { reactor.stop(); }

    Status available();
    Status openCgroups();
    Result<os::CgroupTree> openTree() const;
    Status tryOnce();
    Status sweepGroups(const std::set<ports::SandboxId>& keep, Deadline deadline);

    const NodeId node;
    const std::string guest_path;
    const WarmPool warm;
    const SeccompFilters filters;
    const std::string group_suffix;  // sets this daemon's templates apart from a dead one's
    const std::string delegation_file;
    const std::optional<Error> refused;
    Launcher launcher;
    RunDirs run_dirs;
    RootTable roots;
    Reactor reactor;
    std::mutex mutex;  // cgroups, proven
    std::optional<os::CgroupTree> cgroups;
    bool proven = false;  // a trial went well
    SandboxTable sandboxes;
    ProcessContext context;
    std::unique_ptr<StemPool> stems;
    os::WorkerPool pool;  // last: its jobs use the rest
};

Result<os::CgroupTree> ProcessRuntime::Impl::openTree() const {
    if (!os::inOwnUserNamespace()) return os::CgroupTree::open(node.str());
    AEGIS_TRY(const auto directory, os::delegatedCgroup());
    // What a daemon that was killed left may be in another part of the tree.
    const auto before = os::readFile(delegation_file, kMaxPath);
    if (before && *before != directory && ::access(before->c_str(), F_OK) == 0)
        AEGIS_CHECK(clearAll(*before, node.str()));
    AEGIS_CHECK(os::writeFileAtomic(delegation_file, directory));
    AEGIS_CHECK(os::makeRoomIn(directory));
    return os::CgroupTree::openAt({directory}, true, node.str());
}

Status ProcessRuntime::Impl::openCgroups() {
    if (cgroups) return {};
    AEGIS_TRY(auto tree, openTree());
    cgroups = std::move(tree);
    context.cgroups = &*cgroups;
    stems = std::make_unique<StemPool>(TemplateContext{launcher, *cgroups, context.guest_dir,
                                                       filters, run_dirs, context.guest.listeners},
                                       warm, group_suffix);
    context.stems = stems.get();
    return {};
}

/// Makes a sandbox of nothing but the guest's own programs, up to its first exec: namespaces,
/// overlay and mounts are there if that works.
Status ProcessRuntime::Impl::tryOnce() {
    AEGIS_CHECK(openCgroups());
    ports::SandboxSpec spec;
    spec.tmp_bytes = kTrialTmpBytes;
    AEGIS_TRY(const auto run, run_dirs.create());
    auto prison = makePrison(context, {guest_path, run.shared, &spec, {}}, inMs(kTrialMs));
    (void)RunDirs::remove(run);
    if (!prison)
        return {ErrorCode::kUnsupported,
                "the embedded sandbox does not work on this machine: " + prison.error().message,
                prison.error().hint.empty() ? "aegis doctor says what is missing; or use "
                                              "isolation: docker"
                                            : prison.error().hint};
    (void)killProcess(prison->pidfd);
    return {};
}

Status ProcessRuntime::Impl::sweepGroups(const std::set<ports::SandboxId>& keep,
                                         Deadline deadline) {
    const auto live = sandboxes.snapshot();
    const auto ours = stems->groups();
    AEGIS_TRY(const auto groups, cgroups->list());
    Status status;
    for (const auto& group : groups) {
        const auto id = sandboxOfGroup(group);
        if (ours.contains(group) || (id && (keep.contains(*id) || live.contains(*id)))) continue;
        auto gone = cgroups->destroy(group, deadline);
        if (!gone) status = std::move(gone);
    }
    return status;
}

Result<std::unique_ptr<ProcessRuntime>> ProcessRuntime::create(ProcessOptions options,
                                                               ports::RootImages& images,
                                                               Random& random) {
    for (const char* name : {"init", "bootstrap.py"})
        if (::access((options.guest_dir + "/" + name).c_str(), R_OK) != 0)
            return std::move(errnoError(errno, options.guest_dir + "/" + name))
                .within("the guest's files are not complete");
    AEGIS_TRY(auto guest_dir, os::openFile(options.guest_dir, O_PATH | O_DIRECTORY));
    AEGIS_TRY(auto filters, seccompFilters());
    // Beside the other isolation's, which sweeps its own.
    AEGIS_TRY(auto dirs, RunDirs::open(options.node, random, options.run_base, "process"));
    if (auto kept = dirs.keepInMemory(); !kept)
        log(LogLevel::kDebug, "the sandboxes' sockets lie on a disk",
            {{"error", kept.error().message}});
    return std::unique_ptr<ProcessRuntime>(
        new ProcessRuntime(std::make_unique<Impl>(options, std::move(filters), hexWord(random),
                                                  std::move(guest_dir), images, std::move(dirs))));
}

ProcessRuntime::ProcessRuntime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ProcessRuntime::~ProcessRuntime() {
    if (auto closed = impl_->sandboxes.closeAll({}, inMs(kStopMs)); !closed)
        log(LogLevel::kWarn, "sandboxes are left for the next start to remove",
            {{"error", closed.error().message}});
    // Its pool still removes what the last sandboxes left.
    const auto cgroups = impl_->cgroups;
    impl_.reset();
    if (cgroups) cgroups->close();
}

Status ProcessRuntime::available() { return impl_->available(); }

Status ProcessRuntime::Impl::available() {
    std::lock_guard lock(mutex);
    if (proven) return {};
    if (refused) return *refused;
    if (::geteuid() != 0)
        return {ErrorCode::kUnsupported, "the embedded sandbox needs root",
                "run the daemon as root, or use isolation: docker"};
    AEGIS_CHECK(tryOnce());
    proven = true;
    return {};
}

Result<ports::ImageFacts> ProcessRuntime::checkImage(const std::string& image, const std::string&) {
    AEGIS_TRY(const auto found, impl_->context.images.resolve(image));
    expect(image);
    return ports::ImageFacts{.declares_command = found.declares_command};
}

void ProcessRuntime::expect(const std::string& image) {
    // A full pool has other things to do; then the first sandbox does it.
    (void)impl_->pool.submit([impl = impl_.get(), image] {
        if (!impl->available()) return;
        if (auto found = impl->context.images.resolve(image)) impl->stems->expect(*found);
    });
}

void ProcessRuntime::tryAhead() {
    (void)impl_->pool.submit([impl = impl_.get()] { (void)impl->available(); });
}

void ProcessRuntime::start(ports::SandboxSpec spec, Deadline deadline, ports::SandboxSink& sink) {
    if (!spec.prompt) spec.prompt = std::make_shared<const std::string>();
    impl_->sandboxes.start(
        std::make_shared<ProcessSandbox>(impl_->context, std::move(spec), deadline, sink), sink);
}

void ProcessRuntime::close(const ports::SandboxId& id, Deadline deadline,
                           std::function<void(Status)> done) {
    impl_->sandboxes.close(id, deadline, std::move(done));
}

void ProcessRuntime::run(const ports::SandboxId& id, std::vector<std::string> command,
                         Deadline deadline,
                         std::function<void(Result<ports::CommandResult>)> done) {
    impl_->sandboxes.run(id, std::move(command), deadline, std::move(done));
}

Result<os::Fd> ProcessRuntime::root(const ports::SandboxId& id) { return impl_->roots.open(id); }

Status ProcessRuntime::sweep(const std::set<ports::SandboxId>& keep) {
    const auto deadline = inMs(kSweepMs);
    AEGIS_CHECK(impl_->sandboxes.closeAll(keep, deadline));
    AEGIS_CHECK(available());  // else there cannot be any
    AEGIS_CHECK(impl_->sweepGroups(keep, deadline));
    const auto still = impl_->stems->holdStill();
    auto kept_dirs = impl_->stems->runs();
    for (const auto& [id, run] : impl_->sandboxes.snapshot())
        if (!run.empty()) kept_dirs.insert(run);
    return impl_->run_dirs.sweep(kept_dirs);
}

}  // namespace aegis::sandbox
