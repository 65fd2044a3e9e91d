#include "sandbox/docker/late_mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>

#include <cerrno>
#include <thread>

#include "os/files.h"
#include "os/mount_tree.h"
#include "os/resolve.h"

namespace aegis::sandbox {
namespace {

/// On a thread that nobody else uses: it never comes back to the daemon's mount namespace.
Status enterAndAttach(const os::Fd& pidfd, const std::vector<OpenMount>& mounts,
                      const std::vector<os::Fd>& trees) {
    // setns(2): a thread that shares root and working directory with others cannot change over.
    if (::unshare(CLONE_FS) != 0) return errnoError(errno, "unshare");
    if (::setns(pidfd.get(), CLONE_NEWNS) != 0)
        return errnoError(errno, "the sandbox's mount namespace");
    AEGIS_TRY(const os::Fd root, os::openFile("/", O_PATH | O_DIRECTORY));
    for (std::size_t i = 0; i < mounts.size(); ++i) {
        const auto& target = mounts[i].mount.target;
        auto place = os::openInRoot(root.get(), target, O_PATH, RESOLVE_NO_SYMLINKS);
        if (!place) return std::move(place.error()).within(target);
        AEGIS_CHECK(os::attachTree(trees[i].get(), place->get(), target));
    }
    return {};
}

}  // namespace

Status mountInto(const os::Fd& pidfd, const std::vector<OpenMount>& mounts) {
    std::vector<os::Fd> trees;
    for (const auto& one : mounts) {
        AEGIS_TRY(auto tree, cloneMount(one));
        trees.push_back(std::move(tree));
    }
    Status status;
    std::thread([&] { status = enterAndAttach(pidfd, mounts, trees); }).join();
    return status;
}

}  // namespace aegis::sandbox
