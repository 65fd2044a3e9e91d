#include "doctor/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

namespace aegis::doctor {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kLeastSpace = 64 * kMiB;
constexpr std::uint64_t kEasySpace = 1024 * kMiB;
constexpr std::uint64_t kEasyFiles = 4096;
constexpr int kLeastLandlock = 1;
/// LOOP_CONFIGURE and openat2(2).
constexpr std::pair kLeastKernel{5, 8};
constexpr std::int64_t kYear2025Ms = 1'735'689'600'000;

Finding ok(std::string check, std::string detail) {
    return {State::kOk, std::move(check), std::move(detail), {}};
}
Finding warn(std::string check, std::string detail, std::string hint) {
    return {State::kWarn, std::move(check), std::move(detail), std::move(hint)};
}
Finding fail(std::string check, std::string detail, std::string hint) {
    return {State::kFail, std::move(check), std::move(detail), std::move(hint)};
}
/// A failure where it is needed, else a warning.
Finding lacks(bool needed, std::string check, std::string detail, std::string hint) {
    return {needed ? State::kFail : State::kWarn, std::move(check), std::move(detail),
            std::move(hint)};
}

std::pair<int, int> versionOf(const std::string& release) {
    std::pair<int, int> out{0, 0};
    const char* end = release.data() + release.size();
    auto first = std::from_chars(release.data(), end, out.first);
    if (first.ptr != end && *first.ptr == '.') std::from_chars(first.ptr + 1, end, out.second);
    return out;
}

template <class Each>
void forWords(std::string_view text, std::string_view separators, Each each) {
    while (true) {
        auto from = text.find_first_not_of(separators);
        if (from == text.npos) return;
        text.remove_prefix(from);
        auto end = std::min(text.find_first_of(separators), text.size());
        each(text.substr(0, end));
        text.remove_prefix(end);
    }
}

constexpr std::array<std::string_view, 3> kControllers{"cpu", "memory", "pids"};

/// Controllers that a v1 hierarchy is mounted for, from /proc/mounts.
std::set<std::string, std::less<>> mountedControllers(std::string_view mounts) {
    std::set<std::string, std::less<>> out;
    forWords(mounts, "\n", [&](std::string_view line) {
        std::vector<std::string_view> fields;
        forWords(line, " ", [&](std::string_view field) { fields.push_back(field); });
        if (fields.size() < 4 || fields[2] != "cgroup") return;
        forWords(fields[3], ",", [&](std::string_view option) { out.emplace(option); });
    });
    return out;
}

std::string sizeText(std::uint64_t bytes) {
    if (bytes >= 10 * kEasySpace) return fmt::format("{} GiB", bytes / kEasySpace);
    if (bytes >= kEasySpace)
        return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / kEasySpace);
    return fmt::format("{} MiB", bytes / kMiB);
}

/// The nearest directory above `path` that exists, with its facts.
std::pair<std::string, os::PathFacts> nearest(Machine& machine, std::string path) {
    while (true) {
        auto facts = machine.path(path);
        if (facts && facts->exists) return {path, *facts};
        auto slash = path.find_last_of('/');
        if (path == "/" || slash == path.npos) return {"/", {}};
        path = slash == 0 ? "/" : path.substr(0, slash);
    }
}

Finding checkSpace(Machine& machine, const std::string& check, const std::string& dir) {
    auto space = machine.space(dir);
    if (!space) return fail(check, space.error().message, "see that the disk is well");
    auto detail = fmt::format("{} free at {}", sizeText(space->available_bytes), dir);
    if (space->available_bytes < kLeastSpace)
        return fail(check, detail, "free some space, or set storage.data_dir to another disk");
    if (space->available_bytes < kEasySpace)
        return warn(check, detail, "volumes and journals grow: free some space soon");
    return ok(check, detail);
}

Finding checkDirectory(Machine& machine, const std::string& dir) {
    constexpr auto kCheck = "data directory";
    auto facts = machine.path(dir);
    if (!facts)
        return fail(kCheck, facts.error().message, "set storage.data_dir to a directory of yours");
    if (!facts->exists) {
        auto [above, around] = nearest(machine, dir);
        if (around.directory && around.writable)
            return ok(kCheck, dir + ": the first start of the daemon makes it");
        return fail(kCheck, fmt::format("{}: cannot be made in {}", dir, above),
                    "run as root, or set storage.data_dir to a directory of yours");
    }
    if (!facts->directory)
        return fail(kCheck, dir + ": is not a directory", "set storage.data_dir to another path");
    if (!facts->writable)
        return fail(kCheck, dir + ": cannot be written by this user",
                    "run as the user that the daemon runs as (root), or set storage.data_dir");
    if ((facts->mode & 077U) != 0)
        return warn(kCheck,
                    fmt::format("{}: is open to other users (mode {:04o})", dir, facts->mode),
                    fmt::format("chmod 0700 {}", dir));
    if (!facts->ours)
        return warn(kCheck, dir + ": belongs to another user",
                    "run as the user that the daemon runs as");
    return ok(kCheck, dir);
}

}  // namespace

std::string_view name(State state) {
    return state == State::kOk ? "ok" : state == State::kWarn ? "warn" : "fail";
}

Findings checkSystem(Machine& machine, const Subject&) {
    Findings out;
    auto release = machine.kernelRelease();
    if (versionOf(release) >= kLeastKernel)
        out.push_back(ok("kernel", "Linux " + release));
    else
        out.push_back(fail("kernel", "Linux " + release,
                           fmt::format("AEGIS needs Linux {}.{} or later", kLeastKernel.first,
                                       kLeastKernel.second)));
    if (machine.isRoot())
        out.push_back(ok("user", "root"));
    else
        out.push_back(warn("user", "not root: agents with volumes are refused",
                           "sudo aegis doctor; sudo aegis daemon start --detach"));
    return out;
}

Findings checkConfiguration(Machine& machine, const Subject& subject) {
    constexpr auto kCheck = "configuration";
    if (subject.config_error) {
        auto detail = subject.config_error->message;
        for (const auto& problem : subject.config_error->details)
            detail += "; " + problem.str();
        auto hint = subject.config_error->hint;
        return {fail(kCheck, detail,
                     hint.empty() ? "aegis config validate shows each problem by itself" : hint)};
    }
    Findings out;
    if (subject.config_found) {
        out.push_back(ok(kCheck, subject.config_path));
    } else {
        constexpr auto kInstalled = "/etc/aegis/aegis-config.yaml";
        auto installed = machine.path(kInstalled);
        auto detail = fmt::format("no {} here: the defaults", subject.config_path);
        if (installed && installed->exists)
            out.push_back(warn(
                kCheck, detail,
                fmt::format("the service uses another: aegis --config {} doctor", kInstalled)));
        else
            out.push_back(ok(kCheck, detail));
    }
    // Keys that are missing are told with their providers.
    for (const auto& warning : subject.config_warnings)
        if (!warning.path.ends_with("api_key"))
            out.push_back(warn(kCheck, warning.str(), "correct the file"));
    return out;
}

Findings checkEngine(Machine& machine, const Subject& subject) {
    constexpr auto kCheck = "container engine";
    auto version = machine.engine();
    if (version) return {ok(kCheck, *version)};
    auto hint = version.error().hint;
    return {lacks(subject.docker_needed, kCheck, version.error().message,
                  hint.empty() ? "start it: systemctl start docker" : hint)};
}

namespace {

/// One base image: unpacked for embedded sandboxes, which else take the engine's, or in the engine.
Finding imageFinding(Machine& machine, const Subject& subject, const std::string& reference) {
    constexpr auto kCheck = "base image";
    const bool unpacked = std::ranges::find(subject.unpacked, reference) != subject.unpacked.end();
    const auto there = machine.image(reference);
    const bool no_engine = !there && there.error().code != ErrorCode::kNotFound;
    const bool enough = unpacked && !subject.docker_needed && no_engine;
    if (there || enough)
        return ok(kCheck, fmt::format("{} ({})", reference,
                                      !unpacked ? "in the container engine"
                                      : there   ? "unpacked, and in the container engine"
                                                : "unpacked"));
    const auto own = std::ranges::find(subject.recipes, reference) != subject.recipes.end();
    auto words = reference.substr(reference.find('/') + 1);
    std::ranges::replace(words, ':', ' ');
    return warn(kCheck,
                no_engine  ? there.error().message
                : unpacked ? reference + " (unpacked): the container engine does not have it"
                           : reference + ": is not there yet",
                own ? "aegis image build " + words : "docker pull " + reference);
}

}  // namespace

Findings checkImages(Machine& machine, const Subject& subject) {
    std::set<std::string> images;
    for (const auto& [language, versions] : subject.config.runtime.images)
        for (const auto& [number, reference] : versions)
            images.insert(reference);
    Findings out;
    for (const auto& reference : images)
        out.push_back(imageFinding(machine, subject, reference));
    return out;
}

Findings checkCgroups(Machine& machine, const Subject& subject) {
    constexpr auto kCheck = "cgroups";
    if (!machine.isRoot()) {
        if (auto group = machine.delegatedCgroup())
            return {ok(kCheck, fmt::format("v2, delegated at {}", *group))};
        else
            return {
                lacks(subject.process_needed, kCheck, group.error().message, group.error().hint)};
    }
    constexpr auto kHint = "boot with cgroup_enable=memory, or mount the cgroup hierarchies";
    std::set<std::string, std::less<>> there;
    std::string version = "v2";
    if (auto unified = machine.read("/sys/fs/cgroup/cgroup.controllers")) {
        forWords(*unified, " \n", [&](std::string_view word) { there.emplace(word); });
    } else {
        version = "v1";
        auto mounts = machine.read("/proc/mounts");
        if (mounts) there = mountedControllers(*mounts);
    }
    std::string has;
    std::string missing;
    for (auto controller : kControllers) {
        auto& list = there.contains(controller) ? has : missing;
        list += fmt::format("{}{}", list.empty() ? "" : ", ", controller);
    }
    if (missing.empty()) return {ok(kCheck, fmt::format("{} with {}", version, has))};
    return {fail(kCheck, fmt::format("{} without {}", version, missing), kHint)};
}

Findings checkSandboxing(Machine& machine, const Subject& subject) {
    Findings out;
    const bool needed = subject.process_needed;
    if (!machine.isRoot()) {
        if (auto ids = machine.subordinateIds())
            out.push_back(ok("subordinate ids", "there"));
        else
            out.push_back(lacks(needed, "subordinate ids", ids.error().message, ids.error().hint));
    }
    if (auto made = machine.userNamespace())
        out.push_back(ok("user namespaces", "can be made"));
    else
        out.push_back(lacks(needed, "user namespaces", made.error().message,
                            "sysctl user.max_user_namespaces=15000 "
                            "kernel.unprivileged_userns_clone=1, or run outside of a container"));
    auto filesystems = machine.read("/proc/filesystems");
    if (filesystems && filesystems->find("\toverlay\n") != filesystems->npos)
        out.push_back(ok("overlayfs", "there"));
    else
        out.push_back(
            lacks(needed, "overlayfs", "the kernel does not list it", "modprobe overlay"));
    auto abi = machine.landlock();
    if (abi && *abi >= kLeastLandlock)
        out.push_back(ok("landlock", fmt::format("ABI {}", *abi)));
    else
        out.push_back(warn("landlock", abi ? "too old" : abi.error().message,
                           "boot a kernel of 5.13 or later with lsm=landlock,..."));
    if (auto there = machine.seccomp())
        out.push_back(ok("seccomp", "filters"));
    else
        out.push_back(fail("seccomp", there.error().message,
                           "a kernel with CONFIG_SECCOMP_FILTER is needed"));
    return out;
}

Findings checkVolumes(Machine& machine, const Subject&) {
    if (!machine.isRoot())
        return {warn("volumes", "an ordinary user cannot mount any with a size limit",
                     "run the daemon as root for agents with volumes")};
    Findings out;
    if (auto there = machine.loopDevices())
        out.push_back(ok("loop devices", "there"));
    else
        out.push_back(fail("loop devices", there.error().message, there.error().hint));
    if (machine.hasProgram("mkfs.ext4"))
        out.push_back(ok("mkfs.ext4", "there"));
    else
        out.push_back(
            fail("mkfs.ext4", "volumes cannot be made without it", "apt-get install e2fsprogs"));
    return out;
}

Findings checkStorage(Machine& machine, const Subject& subject) {
    Findings out{checkDirectory(machine, subject.data_dir)};
    out.push_back(checkSpace(machine, "disk", nearest(machine, subject.data_dir).first));
    const auto& volumes = subject.config.storage.volume_dir;
    if (!volumes.empty())
        out.push_back(checkSpace(machine, "disk of volumes", nearest(machine, volumes).first));
    return out;
}

Findings checkLimits(Machine& machine, const Subject&) {
    auto limits = machine.openFiles();
    // The daemon lifts its own soft limit to the hard one.
    auto detail = fmt::format("at most {}", limits.hard);
    if (limits.hard >= kEasyFiles) return {ok("open files", detail)};
    return {warn("open files", detail,
                 fmt::format("{} and more serve many executions: ulimit -Hn 65536, or "
                             "LimitNOFILE= of the service",
                             kEasyFiles))};
}

Findings checkClock(Machine& machine, const Subject&) {
    auto now = machine.now();
    if (now.ms < kYear2025Ms)
        return {fail("clock", now.rfc3339Seconds() + ": certificates will be refused",
                     "set it: timedatectl set-ntp true")};
    if (!machine.clockSynchronized())
        return {warn("clock", now.rfc3339Seconds() + ": no time service keeps it",
                     "timedatectl set-ntp true")};
    return {ok("clock", now.rfc3339Seconds() + ", synchronized")};
}

Findings checkDaemon(Machine& machine, const Subject& subject) {
    Findings out;
    const auto& own = subject.config.server.addr;
    auto address = fmt::format("{}:{}", own.host.empty() ? "0.0.0.0" : own.host, own.port);
    auto daemon = machine.daemon(subject.daemon_addr);
    // A daemon that wants a token is one, too.
    const bool locked = !daemon && (daemon.error().code == ErrorCode::kUnauthenticated ||
                                    daemon.error().code == ErrorCode::kPermissionDenied);
    if (daemon) {
        auto version = std::string(json::getString(*daemon, "version"));
        auto detail = fmt::format("version {} at {}", version, subject.daemon_addr);
        if (version == subject.version)
            out.push_back(ok("daemon", detail));
        else
            out.push_back(warn("daemon",
                               fmt::format("{}, this program is {}", detail, subject.version),
                               "restart the daemon, so that both are of one version"));
    } else if (locked) {
        out.push_back(warn("daemon", fmt::format("{} wants a token", subject.daemon_addr),
                           "give --token or set AEGIS_TOKEN"));
    } else {
        out.push_back(
            warn("daemon", daemon.error().message, "start it with: aegis daemon start --detach"));
    }
    auto free = machine.listen(own);
    if (free) {
        if (!daemon && !locked) out.push_back(ok("api address", address + " is free"));
    } else if (free.error().code == ErrorCode::kConflict) {
        auto answer = fmt::format("{}:{}", own.host.empty() ? "localhost" : own.host, own.port);
        bool ours = daemon || locked || machine.daemon(answer).has_value();
        if (ours)
            out.push_back(ok("api address", address + " is the daemon's"));
        else
            out.push_back(
                fail("api address", address + " is taken by another program",
                     fmt::format("end it (ss -ltnp 'sport = :{}'), or set server.addr", own.port)));
    } else {
        out.push_back(fail("api address", free.error().message, "set server.addr"));
    }
    return out;
}

}  // namespace aegis::doctor
