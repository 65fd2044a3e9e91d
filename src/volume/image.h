#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace aegis::volume {

/// Where a node's volumes live on the host. Pure.
struct Layout {
    std::string dir;  ///< absolute; may be long

    std::string templates() const { return dir + "/templates"; }
    std::string templateMount() const { return templates() + "/mnt"; }
    std::string images() const { return dir + "/images"; }
    std::string mounts() const { return dir + "/mnt"; }
    std::string ready() const { return dir + "/ready"; }  ///< made ahead, nobody's yet
    std::string image(const VolumeId& id) const { return images() + "/" + id.str() + ".img"; }
    std::string mount(const VolumeId& id) const { return mounts() + "/" + id.str(); }
};

/// Makes the directories (0700: only the daemon and root reach the volumes by these paths), and
/// removes what was left unfinished in them. Before anything else is done there.
Status makeLayout(const Layout& layout);

/// The smallest file system made; smaller limits get this much.
inline constexpr std::uint64_t kMinVolumeBytes = 1ULL << 20;

/// The template for volumes of `limit_bytes` (rounded up to MiB), made on first use: an empty ext4
/// that belongs to 1000:1000, without lost+found, with a journal from 8 MiB on, in which
/// `limit_bytes` can be written and at most 1/64 more. Needs mkfs.ext4 and the right to mount. Not
/// for two threads at once.
Result<std::string> ensureTemplate(const Layout& layout, std::uint64_t limit_bytes,
                                   Deadline deadline);

/// A new empty image for `id`; `durable` syncs it. Under its own name only when complete.
Status createImage(const Layout& layout, const std::string& template_path, const VolumeId& id,
                   bool durable);
/// Makes the complete image at `path` that of `id`. On failure it is removed.
Status adoptImage(const Layout& layout, const std::string& path, const VolumeId& id, bool durable);

/// Missing is success.
Status deleteImage(const Layout& layout, const VolumeId& id);

}  // namespace aegis::volume
