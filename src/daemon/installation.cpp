#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "daemon/daemon.h"
#include "os/files.h"

namespace aegis::daemon {
namespace {

Result<std::string> programDir() {
    std::array<char, 4096> buffer{};
    auto length = ::readlink("/proc/self/exe", buffer.data(), buffer.size() - 1);
    if (length < 0) return errnoError(errno, "/proc/self/exe");
    std::string path(buffer.data(), static_cast<std::size_t>(length));
    return path.substr(0, path.find_last_of('/'));
}

/// `dir` without "..": it ends up in the mounts of containers.
std::string parentOf(const std::string& dir) { return dir.substr(0, dir.find_last_of('/')); }

bool readable(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }

}  // namespace

Result<Installation> findInstallation() {
    AEGIS_TRY(const std::string folder, programDir());
    const std::string prefix = parentOf(folder);
    // A build tree has all of it beside the binary; an installation, what depends on the machine
    // below lib and the rest below share (cmake/AegisInstall.cmake).
    const std::array<Installation, 2> places{
        Installation{folder + "/share/aegis/guest", folder + "/share/aegis/images"},
        Installation{prefix + "/lib/aegis/guest", prefix + "/share/aegis/images"}};
    for (const auto& place : places)
        if (readable(place.guest_dir + "/bootstrap.py")) return place;
    return Error(ErrorCode::kNotFound,
                 fmt::format("{}: the files that belong to aegis are not beside it", folder),
                 "build or install all of it again");
}

}  // namespace aegis::daemon
