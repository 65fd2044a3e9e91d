#include "volume/attachment.h"

#include <sys/mount.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "os/clock.h"
#include "os/loop.h"
#include "os/mount.h"

namespace aegis::volume {
namespace {

constexpr int kMountTries = 5;
constexpr std::int64_t kMaxBusyMs = 5'000;

Result<os::LoopDevice> deviceFor(const std::string& image) {
    AEGIS_TRY(auto bound, os::findLoop(image));
    if (bound) return std::move(*bound);
    return os::attachLoop(image);
}

void pause(std::int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

}  // namespace

Status mountImage(const std::string& image, const std::string& target) {
    AEGIS_TRY(bool mounted, os::isMountPoint(target));
    if (mounted) return {};
    Status status;
    for (int attempt = 0; attempt < kMountTries; ++attempt) {
        AEGIS_TRY(os::LoopDevice device, deviceFor(image));
        // noinit_itable: the tables are zeros already; initialising them would only fill the image.
        status = os::mountDevice(device.path, target, "ext4", MS_NOSUID | MS_NODEV | MS_NOATIME,
                                 "noinit_itable,errors=remount-ro");
        if (status) return {};
        // A device found by its file may have cleared itself before it was opened: once more.
        pause(5LL << attempt);
    }
    return status;
}

Status unmountImage(const std::string& target, Deadline deadline) {
    auto& clock = os::systemClock();
    auto limit = deadline.earlier(Deadline::in(clock.boot(), kMaxBusyMs));
    for (std::int64_t wait_ms = 1;; wait_ms = std::min<std::int64_t>(wait_ms * 2, 100)) {
        auto status = os::unmount(target);
        if (status || status.error().code != ErrorCode::kConflict) return status;
        if (limit.passed(clock.boot())) break;
        pause(std::min(wait_ms, std::max<std::int64_t>(limit.leftMs(clock.boot()), 1)));
    }
    log(LogLevel::kWarn, "a volume is still in use; detaching it lazily", {{"path", target}});
    return os::detachMount(target);
}

}  // namespace aegis::volume
