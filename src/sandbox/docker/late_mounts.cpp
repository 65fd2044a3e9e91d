#include "sandbox/docker/late_mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>

#include <cerrno>
#include <thread>

#include "os/files.h"
#include "os/mount_tree.h"
#include "os/resolve.h"
#include "sandbox/common/root_table.h"

namespace aegis::sandbox {
namespace {

/// Before anything is mounted there: what is resolved is the image alone, which nobody can change.
Result<std::vector<os::Fd>> openImagePlaces(const os::Fd& root,
                                            const std::vector<OpenMount>& mounts) {
    std::vector<os::Fd> out(mounts.size());
    for (std::size_t i = 0; i < mounts.size(); ++i) {
        if (around(mounts, mounts[i]) != nullptr) continue;
        auto place = os::openInRoot(root.get(), mounts[i].target, O_PATH);
        if (!place) return std::move(place.error()).within(mounts[i].target);
        out[i] = std::move(*place);
    }
    return out;
}

/// On a thread that nobody else uses: it never comes back to the daemon's mount namespace.
Status enterAndAttach(const os::Fd& pidfd, const os::Fd& root, const std::vector<OpenMount>& mounts,
                      const std::vector<os::Fd>& trees) {
    // setns(2): a thread that shares root and working directory with others cannot change over.
    if (::unshare(CLONE_FS) != 0) return errnoError(errno, "unshare");
    if (::setns(pidfd.get(), CLONE_NEWNS) != 0)
        return errnoError(errno, "the sandbox's mount namespace");
    AEGIS_TRY(const auto image_places, openImagePlaces(root, mounts));
    for (std::size_t i = 0; i < mounts.size(); ++i) {
        const auto& target = mounts[i].target;
        if (const auto* outer = around(mounts, mounts[i])) {
            const auto& tree = trees[static_cast<std::size_t>(outer - mounts.data())];
            const auto rest = target.substr(outer->target.size() + 1);
            auto place = os::openInRoot(tree.get(), rest, O_PATH, RESOLVE_NO_SYMLINKS);
            if (!place) return std::move(place.error()).within(target);
            AEGIS_CHECK(os::attachTree(trees[i].get(), place->get(), target));
        } else {
            AEGIS_CHECK(os::attachTree(trees[i].get(), image_places[i].get(), target));
        }
    }
    return {};
}

}  // namespace

Status mountInto(pid_t pid, const os::Fd& pidfd, const std::vector<OpenMount>& mounts) {
    std::vector<os::Fd> trees;
    for (const auto& one : mounts) {
        AEGIS_TRY(auto tree, cloneMount(one));
        trees.push_back(std::move(tree));
    }
    // Not the namespace's own root: of an engine that itself runs in a chroot that is another.
    AEGIS_TRY(const os::Fd root, openRootOf(pid, pidfd));
    Status status;
    std::thread([&] { status = enterAndAttach(pidfd, root, mounts, trees); }).join();
    return status;
}

}  // namespace aegis::sandbox
