#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/manifest.h"
#include "base/result.h"

namespace aegis::tools {

inline constexpr std::size_t kMaxPathBytes = 4095;
inline constexpr std::size_t kMaxNameBytes = 255;

/// `path` made absolute against `cwd`, with ".", ".." and doubled slashes folded by their text; "/"
/// is its own parent. kInvalid for what no file can be called.
Result<std::string> normalisePath(std::string_view path, std::string_view cwd);

/// Whether `path` is `dir` or below it. Both normalised.
bool isUnder(std::string_view path, std::string_view dir);

/// What `security.filesystem` says of a path by its text alone: a first answer, for what is
/// forbidden for sure. The mounts, seen through SandboxView, have the last word. Immutable.
class FsPolicy {
  public:
    explicit FsPolicy(const agent::Manifest& manifest);

    /// The image is readable, volumes are as granted; the kernel's and the runtime's trees are not.
    bool mayRead(std::string_view path) const;
    bool mayWrite(std::string_view path) const;

    const std::vector<agent::MountGrant>& grants() const { return grants_; }

  private:
    /// The innermost grant over `path`; nullptr if there is none.
    const agent::MountGrant* grantFor(std::string_view path) const;

    std::vector<agent::MountGrant> grants_;
    std::vector<std::string> volume_mount_points_;
};

}  // namespace aegis::tools
