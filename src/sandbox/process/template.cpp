#include "sandbox/process/template.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <charconv>

#include "base/log.h"
#include "os/clock.h"
#include "os/files.h"
#include "os/mount_tree.h"
#include "os/socket.h"
#include "sandbox/common/ctl_channel.h"
#include "sandbox/common/one_line.h"
#include "sandbox/common/payload.h"

namespace aegis::sandbox {
namespace {

namespace launch = proto::launch;

// The template itself; what comes of it is moved into cgroups of its own.
constexpr os::CgroupLimits kTemplateLimits{1000, 256 << 20, 64};
constexpr std::int64_t kKillMs = 5'000;
constexpr std::size_t kMaxWords = 1024;
constexpr std::uint64_t kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

Result<os::Fd> readOnlyTree(const std::string& path) {
    AEGIS_TRY(const os::Fd fd, os::openFile(path, O_PATH | O_DIRECTORY));
    return os::cloneTree(fd.get(), kSafe, path);
}

/// One message; its first byte must be kReady.
Result<os::MessageWithFds> expectReady(int socket, Deadline deadline) {
    AEGIS_TRY(auto message, os::recvWithFds(socket, kMaxWords, 1, deadline));
    const std::string_view said = message.bytes;
    if (said.empty()) return {ErrorCode::kUnavailable, "it has died"};
    if (said.substr(0, 1) == std::string_view(&launch::kReady, 1)) return message;
    return {ErrorCode::kUnavailable, oneLine(said.substr(1))};
}

Status sendByte(int socket, std::span<const int> fds, Deadline deadline) {
    return os::sendWithFds(socket, {&launch::kGo, 1}, fds, deadline);
}

/// Of the process behind a pidfd, in this process's own pid namespace.
Result<pid_t> pidOf(const os::Fd& pidfd) {
    AEGIS_TRY(const auto text,
              os::readFile(fmt::format("/proc/self/fdinfo/{}", pidfd.get()), 4096));
    const auto at = text.find("\nPid:");
    pid_t pid = -1;
    if (at != text.npos) {
        const auto digits = text.find_first_of("-0123456789", at);
        std::from_chars(text.data() + digits, text.data() + text.size(), pid);
    }
    if (pid <= 0) return {ErrorCode::kUnavailable, "a stem has died"};
    return pid;
}

}  // namespace

Result<std::shared_ptr<Template>> Template::start(const TemplateContext& context,
                                                  const ports::RootImage& image,
                                                  const std::string& group, Deadline deadline) {
    std::shared_ptr<Template> made(new Template(context, group));
    AEGIS_CHECK(context.cgroups.create(group, kTemplateLimits));
    if (auto launched = made->launch(image, deadline); !launched)
        return std::move(launched.error()).within("a template of this image");
    return made;
}

Status Template::launch(const ports::RootImage& image, Deadline deadline) {
    AEGIS_TRY(const os::Fd image_tree, readOnlyTree(image.root));
    AEGIS_TRY(const os::Fd bin,
              os::cloneTree(context_.guest_dir.get(), kSafe, "the guest's programs"));
    AEGIS_TRY(auto pair, os::messagePair());
    ::fcntl(pair.second.get(), F_SETFL, 0);  // it has nothing to do but wait
    launch::SpawnTemplate spawn;
    const ImageDefaults defaults{image.env, image.working_dir};
    spawn.argv = templateCommand();
    spawn.env = payloadEnv({}, defaults, 0, 0);
    spawn.seccomp = context_.filters.of_template;
    std::vector<int> fds{image_tree.get(), bin.get(), pair.second.get()};
    std::vector<os::Fd> doors;
    AEGIS_CHECK(addEntrance(context_.cgroups, group_, spawn.entrance, fds, doors));
    AEGIS_TRY(auto child, context_.launcher.spawnTemplate(std::move(spawn), fds, deadline));
    pair.second.reset();
    socket_ = std::move(pair.first);
    pidfd_ = std::move(child.pidfd);
    AEGIS_CHECK(expectReady(socket_.get(), deadline));
    AEGIS_CHECK(sendByte(socket_.get(), {}, deadline));
    AEGIS_TRY(const auto configure, launch::encode(launch::Configure{context_.filters.stem}));
    AEGIS_CHECK(os::sendWithFds(socket_.get(), configure, {}, deadline));
    AEGIS_CHECK(expectReady(socket_.get(), deadline));
    return {};
}

Template::~Template() {
    if (pidfd_) (void)killProcess(pidfd_);
    if (const auto gone = context_.cgroups.destroy(group_, inMs(kKillMs)); !gone)
        log(LogLevel::kWarn, "a template's remains are left for the next start",
            {{"group", group_}, {"error", gone.error().message}});
}

/// The new process, not yet in its cgroup, which is made while the template clones itself.
Status Template::clone(Stem& stem, Deadline deadline) {
    AEGIS_TRY(auto pair, os::messagePair());
    ::fcntl(pair.second.get(), F_SETFL, 0);
    std::lock_guard lock(mutex_);
    const int theirs = pair.second.get();
    AEGIS_CHECK(sendByte(socket_.get(), {&theirs, 1}, deadline));
    const auto grouped = context_.cgroups.create(stem.group, stem.limits);
    AEGIS_TRY(auto answer, expectReady(socket_.get(), deadline));
    if (answer.fds.size() != 1) return {ErrorCode::kInternal, "a template without a stem"};
    stem.pidfd = std::move(answer.fds[0]);
    stem.socket = std::move(pair.first);
    AEGIS_TRY(stem.pid, pidOf(stem.pidfd));
    return grouped;
}

Status Template::settle(Stem& stem, Deadline deadline, const std::function<void()>& meanwhile) {
    AEGIS_CHECK(clone(stem, deadline));
    std::uint32_t own = 0;
    std::vector<int> doors;
    std::vector<os::Fd> entrance;
    if (context_.cgroups.version2()) {
        // To be born there takes rights over the group that the template shall not have.
        AEGIS_CHECK(context_.cgroups.add(stem.group, stem.pid));
    } else {
        // Another for each, until they have gone round.
        static std::atomic<std::uint32_t> count = 0;
        own = count++ % launch::kDoorUsers + 1;
        const auto user = launch::kDoorUserBase + own - 1;
        AEGIS_TRY(entrance, context_.cgroups.entrance(stem.group, user));
        for (const auto& door : entrance)
            doors.push_back(door.get());
    }
    AEGIS_CHECK(context_.launcher.mapStem(pidfd_.get(), stem.pid, own, deadline));
    AEGIS_CHECK(sendByte(stem.socket.get(), doors, deadline));
    if (meanwhile) meanwhile();
    AEGIS_CHECK(expectReady(stem.socket.get(), deadline));
    return {};
}

Result<Stem> Template::makeStem(const std::string& group, const os::CgroupLimits& limits,
                                Deadline deadline, const std::function<void()>& meanwhile) {
    Stem stem;
    stem.group = group;
    stem.limits = limits;
    stem.origin = shared_from_this();
    auto settled = settle(stem, deadline, meanwhile);
    if (settled) return stem;
    if (stem.pidfd) (void)killProcess(stem.pidfd);
    (void)context_.cgroups.destroy(group, inMs(kKillMs));
    return std::move(settled.error()).within("a stem");
}

Status addEntrance(const os::CgroupTree& cgroups, const std::string& group,
                   launch::Entrance& entrance, std::vector<int>& fds, std::vector<os::Fd>& doors) {
    AEGIS_TRY(doors, cgroups.entrance(group));
    entrance.directory = cgroups.version2();
    entrance.doors = static_cast<std::uint8_t>(cgroups.version2() ? 0 : doors.size());
    for (const auto& door : doors)
        fds.push_back(door.get());
    return {};
}

Status finishStem(const Stem& stem, const std::string& run_dir, const launch::Finish& finish,
                  Deadline deadline) {
    AEGIS_TRY(const os::Fd run, readOnlyTree(run_dir));
    const int fds[] = {run.get()};
    AEGIS_TRY(const auto bytes, launch::encode(finish));
    return os::sendWithFds(stem.socket.get(), bytes, fds, deadline);
}

Status sendMounts(const Stem& stem, const std::vector<os::Fd>& trees, Deadline deadline) {
    std::vector<int> fds;
    for (const auto& tree : trees)
        fds.push_back(tree.get());
    return fds.empty() ? Status{} : sendByte(stem.socket.get(), fds, deadline);
}

namespace {

Result<CtlPeer> awaitPeer(const os::CgroupTree& cgroups, const Stem& stem, int listener,
                          Deadline deadline) {
    // Or until it has died.
    AEGIS_CHECK(os::waitReady(listener, POLLIN, deadline, stem.pidfd.get()));
    AEGIS_TRY(auto peer, acceptCtl(listener));
    if (!peer || !peer->first_process || peer->pid != stem.pid)
        return {ErrorCode::kUnavailable, "what connected is not the stem"};
    if (!cgroups.holds(peer->proc_cgroup, stem.group))
        return {ErrorCode::kUnavailable, "the stem is not in its cgroup"};
    return std::move(*peer);
}

}  // namespace

Result<Standing> standUp(const TemplateContext& context, const Stem& stem,
                         const launch::Finish& finish, Deadline deadline) {
    Standing standing;
    standing.tmp_bytes = finish.tmp_bytes;
    auto make = [&]() -> Status {
        AEGIS_CHECK(makeRun(standing.run, context.run_dirs, context.listeners));
        AEGIS_CHECK(finishStem(stem, standing.run.dir->shared, finish, deadline));
        if (!finish.mounts.empty()) {
            AEGIS_CHECK(expectReady(stem.socket.get(), deadline));
            return {};
        }
        AEGIS_TRY(standing.peer,
                  awaitPeer(context.cgroups, stem, standing.run.listener.get(), deadline));
        AEGIS_TRY(standing.peer->memory, watchMemory(standing.peer->proc_cgroup));
        standing.run.listener.reset();
        return {};
    };
    auto stood = make();
    if (stood) return standing;
    standing.run.guest_listener.reset();
    if (standing.run.dir) (void)RunDirs::remove(*standing.run.dir);
    auto why = lastWords(stem.socket);
    if (!why.empty()) return {ErrorCode::kUnavailable, std::move(why)};
    return std::move(stood.error());
}

Status resizeTmp(const Stem& stem, std::uint64_t bytes) {
    AEGIS_TRY(const os::Fd tmp, os::openFile(fmt::format("/proc/{}/root/tmp", stem.pid),
                                             O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (hasEnded(stem.pidfd)) return {ErrorCode::kUnavailable, "the sandbox has died"};
    return os::reconfigure(tmp.get(), {{"size", fmt::format("{}", bytes)}}, "/tmp");
}

std::string lastWords(const os::Fd& socket) {
    std::array<char, kMaxWords> text{};
    ssize_t size = 0;
    do {
        size = ::recv(socket.get(), text.data(), text.size(), MSG_DONTWAIT);
    } while (size == 1 && text[0] == launch::kReady);  // that nobody waited for
    if (size < 1 || text[0] != launch::kFailed) return {};
    return oneLine({text.data() + 1, static_cast<std::size_t>(size) - 1});
}

}  // namespace aegis::sandbox
