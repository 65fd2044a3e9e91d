#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "daemon/daemon.h"
#include "os/files.h"

namespace aegis::daemon {

Result<Installation> findInstallation() {
    std::array<char, 4096> buffer{};
    auto length = ::readlink("/proc/self/exe", buffer.data(), buffer.size() - 1);
    if (length < 0) return errnoError(errno, "/proc/self/exe");
    std::string folder(buffer.data(), static_cast<std::size_t>(length));
    folder.resize(folder.find_last_of('/'));
    for (const auto& share : {folder + "/share/aegis", folder + "/../share/aegis"}) {
        auto guest = share + "/guest";
        if (::access((guest + "/bootstrap.py").c_str(), R_OK) == 0)
            return Installation{guest, share + "/images"};
    }
    return Error(ErrorCode::kNotFound,
                 fmt::format("{}: the files that belong to aegis are not beside it", folder),
                 "build or install all of it again");
}

}  // namespace aegis::daemon
