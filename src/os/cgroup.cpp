#include "os/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <sstream>

#include "base/assert.h"
#include "os/clock.h"
#include "os/files.h"

namespace aegis::os {
namespace {

constexpr std::array kControllers = {"cpu", "memory", "pids"};
constexpr std::size_t kCpu = 0, kMemory = 1, kPids = 2;
constexpr std::int64_t kPeriodUs = 100'000;
constexpr std::int64_t kDestroyPauseMs = 2;
constexpr std::uint64_t kMaxFile = 4 << 20;

bool hasWord(const std::string& list, const std::string& word, char separator) {
    std::istringstream in(list);
    for (std::string one; std::getline(in, one, separator);)
        if (one == word) return true;
    return false;
}

Status ensureDir(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return errnoError(errno, path);
    return {};
}

Status writeText(const std::string& path, const std::string& value) {
    AEGIS_TRY(const Fd file, openFile(path, O_WRONLY));
    if (::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
        return errnoError(errno, path);
    return {};
}

std::int64_t quotaUs(int millicores) {
    // The kernel takes a thousand microseconds at least.
    return std::max<std::int64_t>(1000, millicores * kPeriodUs / 1000);
}

Status enableControllers(const std::string& dir) {
    for (const char* controller : kControllers)
        if (auto done = writeText(dir + "/cgroup.subtree_control", fmt::format("+{}", controller));
            !done)
            return {
                ErrorCode::kUnsupported,
                fmt::format("the cgroup controller {} cannot be used: {}", controller,
                            done.error().message),
                "run the daemon as root, or where cgroup v2 is delegated (systemd: Delegate=yes)"};
    return {};
}

}  // namespace

CgroupLayout cgroupLayout(const std::string& proc_mounts) {
    std::array<std::string, kControllers.size()> v1;
    std::string v2;
    std::istringstream in(proc_mounts);
    for (std::string line; std::getline(in, line);) {
        std::istringstream fields(line);
        std::string device, path, type, options;
        fields >> device >> path >> type >> options;
        if (type == "cgroup2" && v2.empty()) v2 = path;
        if (type != "cgroup") continue;
        for (std::size_t i = 0; i < kControllers.size(); ++i)
            if (v1[i].empty() && hasWord(options, kControllers[i], ',')) v1[i] = path;
    }
    if (std::none_of(v1.begin(), v1.end(), [](const auto& path) { return path.empty(); }))
        return {false, {v1.begin(), v1.end()}};
    if (!v2.empty()) return {true, {v2}};
    return {};
}

Result<CgroupTree> CgroupTree::open(const std::string& name) {
    AEGIS_TRY(const auto mounts, readFile("/proc/mounts", kMaxFile));
    const auto layout = cgroupLayout(mounts);
    if (layout.hierarchies.empty())
        return {ErrorCode::kUnsupported, "no cgroup hierarchy is mounted",
                "mount cgroup2 at /sys/fs/cgroup"};
    return openAt(layout.hierarchies, layout.version2, name);
}

Result<CgroupTree> CgroupTree::openAt(const std::vector<std::string>& hierarchies, bool version2,
                                      const std::string& name) {
    CgroupTree tree;
    tree.version2_ = version2;
    tree.place_ = "/aegis/" + name;
    for (const auto& hierarchy : hierarchies) {
        const auto ours = hierarchy + "/aegis";
        if (version2) {
            AEGIS_TRY(const auto offered, readFile(hierarchy + "/cgroup.controllers", kMaxFile));
            for (const char* controller : kControllers)
                if (!hasWord(offered.substr(0, offered.find('\n')), controller, ' '))
                    return {ErrorCode::kUnsupported,
                            fmt::format("cgroup v2 has no controller {} here", controller),
                            "boot with cgroup_enable=memory, or without v1 hierarchies"};
            AEGIS_CHECK(enableControllers(hierarchy));
        }
        AEGIS_CHECK(ensureDir(ours));
        if (version2) AEGIS_CHECK(enableControllers(ours));
        AEGIS_CHECK(ensureDir(ours + "/" + name));
        if (version2) AEGIS_CHECK(enableControllers(ours + "/" + name));
        tree.roots_.push_back(ours + "/" + name);
    }
    return tree;
}

std::string CgroupTree::fileOf(std::size_t hierarchy, const std::string& group,
                               const char* name) const {
    return fmt::format("{}/{}/{}", roots_[hierarchy], group, name);
}

Status CgroupTree::write(std::size_t hierarchy, const std::string& group, const char* name,
                         const std::string& value) const {
    return writeText(fileOf(hierarchy, group, name), value);
}

Status CgroupTree::limitV1(const std::string& group, const CgroupLimits& limits) const {
    const auto memory = fmt::format("{}", limits.memory_bytes);
    // Never above both together: that one is first where it rises. Missing where the kernel does
    // not count swap; then none may be used at all.
    const char* const kBoth = "memory.memsw.limit_in_bytes";
    const bool counts_swap = ::access(fileOf(kMemory, group, kBoth).c_str(), F_OK) == 0;
    const bool rises = counts_swap && write(kMemory, group, kBoth, memory);
    AEGIS_CHECK(write(kMemory, group, "memory.limit_in_bytes", memory));
    if (counts_swap && !rises) AEGIS_CHECK(write(kMemory, group, kBoth, memory));
    if (!counts_swap) AEGIS_CHECK(write(kMemory, group, "memory.swappiness", "0"));
    AEGIS_CHECK(write(kPids, group, "pids.max", fmt::format("{}", limits.pids)));
    AEGIS_CHECK(write(kCpu, group, "cpu.cfs_period_us", fmt::format("{}", kPeriodUs)));
    return write(kCpu, group, "cpu.cfs_quota_us",
                 fmt::format("{}", quotaUs(limits.cpu_millicores)));
}

Status CgroupTree::limitV2(const std::string& group, const CgroupLimits& limits) const {
    AEGIS_CHECK(write(0, group, "memory.max", fmt::format("{}", limits.memory_bytes)));
    // Missing where the kernel does not count swap.
    if (::access(fileOf(0, group, "memory.swap.max").c_str(), F_OK) == 0)
        AEGIS_CHECK(write(0, group, "memory.swap.max", "0"));
    AEGIS_CHECK(write(0, group, "pids.max", fmt::format("{}", limits.pids)));
    return write(0, group, "cpu.max",
                 fmt::format("{} {}", quotaUs(limits.cpu_millicores), kPeriodUs));
}

Status CgroupTree::create(const std::string& group, const CgroupLimits& limits) const {
    AEGIS_CHECK(make(group));
    return limit(group, limits);
}

Status CgroupTree::limit(const std::string& group, const CgroupLimits& limits) const {
    return version2_ ? limitV2(group, limits) : limitV1(group, limits);
}

Status CgroupTree::make(const std::string& group) const {
    for (const auto& root : roots_) {
        if (::mkdir((root + "/" + group).c_str(), 0755) == 0) continue;
        // Two controllers may share a hierarchy.
        if (errno == EEXIST && &root != &roots_.front()) continue;
        if (errno == EEXIST) return {ErrorCode::kConflict, group + ": this cgroup exists already"};
        return errnoError(errno, root + "/" + group);
    }
    return {};
}

namespace {

/// This thread's effective user, and no other thread's.
Status setUser(uid_t user) {
    constexpr uid_t kSame = ~uid_t{0};
    if (::syscall(SYS_setresuid, kSame, user, kSame) != 0) return errnoError(errno, "setresuid");
    return {};
}

/// As `user`, whose the file becomes.
Result<Fd> openDoor(const std::string& path, uid_t user) {
    if (user == 0) return openFile(path, O_WRONLY);
    if (::chown(path.c_str(), user, 0) != 0) return errnoError(errno, path);
    // The directories above may be closed to him.
    AEGIS_TRY(const Fd file, openFile(path, O_PATH));
    const auto own = ::geteuid();
    AEGIS_CHECK(setUser(user));
    auto door = openFile(fmt::format("/proc/self/fd/{}", file.get()), O_WRONLY);
    const auto back = setUser(own);
    AEGIS_ASSERT(back);
    return door;
}

}  // namespace

Result<std::vector<Fd>> CgroupTree::entrance(const std::string& group, uid_t user) const {
    std::vector<Fd> out;
    for (const auto& root : roots_) {
        const auto path = root + "/" + group;
        AEGIS_TRY(auto file, version2_ ? openFile(path, O_RDONLY | O_DIRECTORY)
                                       : openDoor(path + "/tasks", user));
        out.push_back(std::move(file));
    }
    return out;
}

Status CgroupTree::add(const std::string& group, pid_t pid) const {
    for (std::size_t i = 0; i < roots_.size(); ++i)
        AEGIS_CHECK(write(i, group, "cgroup.procs", fmt::format("{}", pid)));
    return {};
}

bool CgroupTree::holds(std::string_view proc_cgroup, const std::string& group) const {
    const auto place = place_ + "/" + group;
    std::size_t found = 0;
    std::istringstream in{std::string(proc_cgroup)};
    for (std::string line; std::getline(in, line);) {
        const auto first = line.find(':');
        const auto second = first == line.npos ? first : line.find(':', first + 1);
        if (second == line.npos || !line.ends_with(place)) continue;
        const auto controllers = line.substr(first + 1, second - first - 1);
        if (version2_ && controllers.empty()) return true;
        for (const char* controller : kControllers)
            if (hasWord(controllers, controller, ',')) ++found;
    }
    return !version2_ && found == kControllers.size();
}

Result<std::vector<pid_t>> CgroupTree::processes(const std::string& group) const {
    std::vector<pid_t> out;
    for (std::size_t i = 0; i < roots_.size(); ++i) {
        const auto file = fileOf(i, group, "cgroup.procs");
        auto text = readFile(file, kMaxFile);
        if (!text) {
            // One that is removed while it is read answers ENODEV.
            if (::access(file.c_str(), F_OK) != 0 && errno == ENOENT) continue;
            return std::move(text.error());
        }
        std::istringstream in(*text);
        for (pid_t pid = 0; in >> pid;)
            if (pid > 0) out.push_back(pid);
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

Status CgroupTree::kill(const std::string& group, Deadline deadline) const {
    for (std::int64_t wait_ms = 1;; wait_ms = std::min<std::int64_t>(wait_ms * 2, 20)) {
        AEGIS_TRY(const auto pids, processes(group));
        if (pids.empty()) return {};
        // Linux 5.14: all at once. Else the first of them that is a namespace's takes the rest
        // along.
        if (!version2_ || !write(0, group, "cgroup.kill", "1"))
            for (const pid_t pid : pids)
                ::kill(pid, SIGKILL);
        if (deadline.passed(systemClock().boot()))
            return {ErrorCode::kTimeout, group + ": processes do not end"};
        pauseMs(wait_ms);
    }
}

Status CgroupTree::remove(const std::string& group) const {
    for (const auto& root : roots_) {
        const auto path = root + "/" + group;
        if (::rmdir(path.c_str()) == 0 || errno == ENOENT) continue;
        if (errno == EBUSY) return {ErrorCode::kConflict, path + ": is not empty"};
        return errnoError(errno, path);
    }
    return {};
}

Status CgroupTree::destroy(const std::string& group, Deadline deadline) const {
    while (true) {
        // Mostly nothing is in it any more, which takes longer to look up than to be told of here.
        auto gone = remove(group);
        if (gone || gone.error().code != ErrorCode::kConflict) return gone;
        if (deadline.passed(systemClock().boot())) return gone;
        AEGIS_CHECK(kill(group, deadline));
        pauseMs(kDestroyPauseMs);  // the last may still be on its way out
    }
}

void CgroupTree::close() const {
    for (const auto& root : roots_)
        ::rmdir(root.c_str());
}

Result<std::vector<std::string>> CgroupTree::list() const {
    std::vector<std::string> out;
    for (const auto& root : roots_) {
        const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(root.c_str()), ::closedir);
        if (!dir && errno == ENOENT) continue;  // another of the same name took it away
        if (!dir) return errnoError(errno, root);
        while (const dirent* entry = ::readdir(dir.get()))
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.') out.emplace_back(entry->d_name);
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

}  // namespace aegis::os
