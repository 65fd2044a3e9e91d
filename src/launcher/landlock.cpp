#include "launcher/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "os/files.h"

namespace aegis::launcher {
namespace {

// Later than the headers of the oldest system this is built on.
constexpr std::uint64_t kTruncate = 1ULL << 14;  // ABI 3

constexpr std::uint64_t kFileRights = LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr std::uint64_t kDirRights =
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

}  // namespace

int landlockAbi() {
    const long abi =
        ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? static_cast<int>(abi) : 0;
}

Status restrictWrites(const std::vector<WritablePlace>& places) {
    const int abi = landlockAbi();
    if (abi == 0) return {};
    const std::uint64_t file_rights = kFileRights | (abi >= 3 ? kTruncate : 0);
    // Without it no link or rename between directories would be allowed at all.
    const std::uint64_t refer = abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    landlock_ruleset_attr attr{};
    attr.handled_access_fs = file_rights | kDirRights | refer;
    const os::Fd rules(
        static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0)));
    if (!rules) return errnoError(errno, "landlock");
    for (const auto& place : places) {
        AEGIS_TRY(const os::Fd fd, os::openFile(place.path, O_PATH));
        landlock_path_beneath_attr rule{};
        rule.allowed_access = place.directory ? attr.handled_access_fs : file_rights;
        rule.parent_fd = fd.get();
        if (::syscall(SYS_landlock_add_rule, rules.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) !=
            0)
            return errnoError(errno, "landlock " + place.path);
    }
    if (::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0)
        return errnoError(errno, "landlock");
    return {};
}

}  // namespace aegis::launcher
