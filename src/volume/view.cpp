// Looking into volumes from outside.

#include <unistd.h>

#include "os/files.h"
#include "os/mount.h"
#include "volume/attachment.h"
#include "volume/manager.h"

namespace aegis::volume {
namespace {

constexpr std::int64_t kUnmountMs = 5'000;

/// A mount of its own: executions come and go as if nobody looked.
class ClonedView : public ports::VolumeView {
  public:
    explicit ClonedView(os::Fd root) : root_(std::move(root)) {}
    int root() const override { return root_.get(); }

  private:
    os::Fd root_;
};

}  // namespace

Result<std::unique_ptr<ports::VolumeView>> VolumeManager::view(const VolumeId& id) {
    AEGIS_CHECK(layout_made_);
    auto guard = locks_.lock(id);
    AEGIS_TRY(auto record, store_.get(id));
    auto target = layout_.mount(id);
    auto before = os::isMountPoint(target);
    bool mounted = before && *before;
    if (!mounted) {
        AEGIS_CHECK(os::makeDirs(target));
        AEGIS_CHECK(mountImage(layout_.image(id), target));
    }
    auto tree = os::cloneReadOnly(target);
    if (!mounted) {
        // The clone keeps the file system; the place is free again for whoever attaches.
        AEGIS_CHECK(unmountImage(target, Deadline::in(clock_.boot(), kUnmountMs)));
        ::rmdir(target.c_str());
    }
    if (!tree) return tree.error();
    return std::unique_ptr<ports::VolumeView>(std::make_unique<ClonedView>(std::move(*tree)));
}

}  // namespace aegis::volume
