#include "os/delegation.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <sstream>

#include "os/cgroup.h"
#include "os/clock.h"
#include "os/files.h"

namespace aegis::os {
namespace {

constexpr std::uint64_t kMaxFile = 4 << 20;
constexpr std::string_view kProcessesBelow = "/aegis-daemon";
constexpr std::array kControllers = {"cpu", "memory", "pids"};
constexpr int kMoveTries = 50;
constexpr std::int64_t kMovePauseMs = 2;
constexpr const char* kHint =
    "start it with: systemd-run --user --scope -p Delegate=yes aegis daemon start; or as a service "
    "with Delegate=yes";

std::string pathOfVersion2(const std::string& proc_self_cgroup) {
    std::istringstream in(proc_self_cgroup);
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("0::/")) return line.substr(3);
    return {};
}

bool mayWrite(const std::string& path, int how) {
    return ::faccessat(AT_FDCWD, path.c_str(), how, AT_EACCESS) == 0;
}

Status checkWritable(const std::string& directory, const std::string& name) {
    bool ours = mayWrite(directory, W_OK | X_OK);
    for (const char* file : {"/cgroup.procs", "/cgroup.subtree_control"})
        ours = ours && mayWrite(directory + file, W_OK);
    if (ours) return {};
    return {ErrorCode::kUnsupported,
            fmt::format("the cgroup {} is not delegated to this user", name), kHint};
}

Status checkControllers(const std::string& directory, const std::string& name) {
    AEGIS_TRY(const auto text, readFile(directory + "/cgroup.controllers", kMaxFile));
    const auto offered = " " + text.substr(0, text.find('\n')) + " ";
    std::string missing;
    for (const char* controller : kControllers)
        if (offered.find(fmt::format(" {} ", controller)) == offered.npos)
            missing += fmt::format("{}{}", missing.empty() ? "" : ", ", controller);
    if (missing.empty()) return {};
    return {ErrorCode::kUnsupported,
            fmt::format("the cgroup {} is delegated without {}", name, missing),
            "as root: systemctl edit user@.service, with [Service] Delegate=cpu memory pids; then "
            "log in again"};
}

}  // namespace

Result<std::string> delegatedCgroupIn(const std::string& proc_mounts,
                                      const std::string& proc_self_cgroup) {
    const auto layout = cgroupLayout(proc_mounts);
    if (!layout.version2)
        return {ErrorCode::kUnsupported,
                "cgroups of version 1 cannot be delegated to an ordinary user",
                "boot with systemd.unified_cgroup_hierarchy=1, or run the daemon as root"};
    auto name = pathOfVersion2(proc_self_cgroup);
    if (name.ends_with(kProcessesBelow)) name.resize(name.size() - kProcessesBelow.size());
    if (name.empty() || name == "/")
        return {ErrorCode::kUnsupported, "this process is in no cgroup of its user's", kHint};
    const auto directory = layout.hierarchies.front() + name;
    AEGIS_CHECK(checkWritable(directory, name));
    AEGIS_CHECK(checkControllers(directory, name));
    return directory;
}

Result<std::string> delegatedCgroup() {
    AEGIS_TRY(const auto mounts, readFile("/proc/mounts", kMaxFile));
    AEGIS_TRY(const auto own, readFile("/proc/self/cgroup", kMaxFile));
    return delegatedCgroupIn(mounts, own);
}

Status makeRoomIn(const std::string& directory) {
    const auto below = directory + std::string(kProcessesBelow);
    if (::mkdir(below.c_str(), 0755) != 0 && errno != EEXIST) return errnoError(errno, below);
    const auto from = directory + "/cgroup.procs";
    for (int i = 0; i < kMoveTries; ++i) {
        AEGIS_TRY(const auto text, readFile(from, kMaxFile));
        if (text.empty()) return {};
        std::istringstream in(text);
        for (std::string pid; in >> pid;) {
            AEGIS_TRY(const Fd into, openFile(below + "/cgroup.procs", O_WRONLY));
            const bool moved = ::write(into.get(), pid.data(), pid.size()) > 0;
            if (!moved && errno != ESRCH)  // which has ended meanwhile
                return errnoError(errno, "moving a process to " + below);
        }
        pauseMs(kMovePauseMs);
    }
    return {ErrorCode::kConflict, directory + ": processes keep coming",
            "start the daemon as the only program of its cgroup"};
}

}  // namespace aegis::os
