#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "proto/launch.h"

/// What a sandbox sees of files. Mounts are made bottom up in a mount namespace that holds nothing
/// but what home() made, then the root directory is changed for good.
namespace aegis::launcher {

/// The launcher's own mount namespace: an empty root with the host's /proc, a /dev of harmless
/// devices that sandboxes get copies of, and an empty /scratch. So a sandbox begins with three
/// mounts whatever the host has, and no path of the host exists where sandboxes are made.
Status home();

/// What comes by descriptor.
struct RootPlan {
    os::Fd image;  ///< detached mounts
    os::Fd bin;
    os::Fd run;
    std::uint64_t tmp_bytes = 0;  ///< 0: no tmpfs at /tmp
    std::vector<proto::launch::Mount> mounts;
    std::vector<os::Fd> mount_trees;  ///< one for each of `mounts`; none: attachMounts() follows
};

/// In a new process, as the sandbox's owner: builds the root and moves there. The image shows
/// through an overlay without a writable layer, whose upper half holds nothing but mount points and
/// /etc/hosts.
Status enterRoot(RootPlan plan);

/// The same for a template: `plan.image`, `plan.bin`, the devices and, for its stems, what all of
/// them have, once more; nothing else, read-only. A /proc of its own is in its mount namespace, as
/// that of its stems needs one to copy from, but out of its sight: it must not look into what comes
/// of it.
Status enterTemplateRoot(RootPlan plan);
/// enterRoot() for a stem, which begins where its template is and has image and programs of it.
Status enterRootFromTemplate(RootPlan plan);

/// What enterRoot() left out, in the root that it made: `trees` at the places of `mounts`.
Status attachMounts(const std::vector<proto::launch::Mount>& mounts,
                    const std::vector<os::Fd>& trees);

}  // namespace aegis::launcher
