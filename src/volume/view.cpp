// Looking into volumes from outside.

#include <sys/mount.h>

#include "os/mount.h"
#include "volume/attachment.h"
#include "volume/manager.h"

namespace aegis::volume {
namespace {

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
    // Mounted nowhere: the place is free for whoever attaches.
    auto tree = mounted
                    ? os::cloneReadOnly(target)
                    : openImage(layout_.image(id), false, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC);
    if (!tree) return tree.error();
    return std::unique_ptr<ports::VolumeView>(std::make_unique<ClonedView>(std::move(*tree)));
}

}  // namespace aegis::volume
