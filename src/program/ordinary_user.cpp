#include "program/ordinary_user.h"

#include <unistd.h>

#include "launcher/namespaces.h"
#include "os/clock.h"
#include "os/delegation.h"
#include "os/user_namespace.h"

namespace aegis::program {
namespace {

constexpr std::int64_t kMapMs = 30'000;

/// As the machine's root has them: its own id, the images' at their base, and the sandbox's user,
/// who is itself. The launcher's maps must lie within single ones of these.
std::vector<os::IdExtent> extents(std::uint32_t own, std::uint32_t first) {
    using namespace launcher;
    return {{0, own, 1},
            {kGuestId, first + kGuestId, 1},
            {kImageIdBase, first, kGuestId},
            {kImageIdBase + kGuestId + 1, first + kGuestId + 1, kIdCount - kGuestId - 1}};
}

}  // namespace

Status mayHaveSandboxes(const config::Config& config) {
    if (config.runtime.isolation_given && config.runtime.isolation == "docker")
        return {ErrorCode::kUnsupported,
                "an ordinary user's daemon has no embedded sandboxes beside isolation docker",
                "take runtime.isolation out of the configuration, and start the daemon again"};
    AEGIS_TRY([[maybe_unused]] const auto group, os::delegatedCgroup());
    AEGIS_TRY([[maybe_unused]] const auto ids, os::subordinateIds(launcher::kIdCount));
    return {};
}

Status takeImageIds() {
    if (::geteuid() == 0) return {};
    AEGIS_TRY(const auto ids, os::subordinateIds(launcher::kIdCount));
    return os::enterUserNamespace(extents(::geteuid(), ids.first_uid),
                                  extents(::getegid(), ids.first_gid),
                                  Deadline::in(os::systemClock().boot(), kMapMs));
}

Status prepareForSandboxes(const config::Config& config) {
    if (::geteuid() == 0) return {};
    AEGIS_CHECK(mayHaveSandboxes(config));
    return takeImageIds();
}

}  // namespace aegis::program
