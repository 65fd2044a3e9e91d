#include "volume/attachment.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "os/clock.h"
#include "os/files.h"
#include "os/loop.h"
#include "os/mount.h"
#include "os/mount_tree.h"

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

Result<os::Fd> openImage(const std::string& image, bool fresh, std::uint64_t attributes) {
    attributes |= MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME;
    for (int attempt = 1;; ++attempt) {
        AEGIS_TRY(os::LoopDevice device, fresh ? os::attachLoop(image) : deviceFor(image));
        // noinit_itable: the tables are zeros already; initialising them would only fill the image.
        auto tree = os::newFileSystem(
            "ext4", {{"source", device.path}, {"noinit_itable", ""}, {"errors", "remount-ro"}},
            attributes);
        if (tree) return tree;
        if (attempt == kMountTries) return std::move(tree.error()).within(image);
        // A device found by its file may have cleared itself before it was opened: once more.
        pause(5LL << attempt);
    }
}

Status mountImage(const std::string& image, const std::string& target) {
    AEGIS_TRY(bool mounted, os::isMountPoint(target));
    if (mounted) return {};
    AEGIS_TRY(const os::Fd tree, openImage(image, false));
    return os::attachTreeAt(tree.get(), AT_FDCWD, target.c_str());
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

Result<os::Fd> takeOff(const std::string& target) {
    auto mounted = os::isMountPoint(target);
    if (!mounted && mounted.error().code == ErrorCode::kNotFound) return os::Fd();
    if (!mounted) return std::move(mounted.error());
    if (!*mounted) return os::Fd();
    AEGIS_TRY(os::Fd root, os::openFile(target, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    AEGIS_CHECK(os::detachMount(target));
    return root;
}

}  // namespace aegis::volume
