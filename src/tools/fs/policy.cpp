#include "tools/fs/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace aegis::tools {
namespace {

constexpr std::string_view kTmp = "/tmp";
constexpr std::array<std::string_view, 4> kHidden{"/proc", "/sys", "/dev", "/aegis"};

}  // namespace

Result<std::string> normalisePath(std::string_view path, std::string_view cwd) {
    if (path.empty()) return {ErrorCode::kInvalid, "the path is empty"};
    if (path.find('\0') != std::string_view::npos)
        return {ErrorCode::kInvalid, "the path contains a NUL character"};
    if (path.size() > kMaxPathBytes) return {ErrorCode::kInvalid, "the path is too long"};
    std::string whole = path.front() == '/' ? std::string(path) : fmt::format("{}/{}", cwd, path);
    std::vector<std::string_view> parts;
    for (std::size_t at = 0; at < whole.size();) {
        auto end = std::min(whole.find('/', at), whole.size());
        auto part = std::string_view(whole).substr(at, end - at);
        at = end + 1;
        if (part.size() > kMaxNameBytes)
            return {ErrorCode::kInvalid, "a name in the path is longer than 255 bytes"};
        if (part.empty() || part == ".") continue;
        if (part != "..")
            parts.push_back(part);
        else if (!parts.empty())
            parts.pop_back();
    }
    auto normal = fmt::format("/{}", fmt::join(parts, "/"));
    if (normal.size() > kMaxPathBytes) return {ErrorCode::kInvalid, "the path is too long"};
    return normal;
}

bool isUnder(std::string_view path, std::string_view dir) {
    if (dir == "/") return true;
    return path.starts_with(dir) && (path.size() == dir.size() || path[dir.size()] == '/');
}

FsPolicy::FsPolicy(const agent::Manifest& manifest) : grants_(agent::mountPlan(manifest)) {
    for (const auto& volume : manifest.volumes)
        volume_mount_points_.push_back(volume.mount_point);
}

const agent::MountGrant* FsPolicy::grantFor(std::string_view path) const {
    const agent::MountGrant* innermost = nullptr;
    for (const auto& grant : grants_)
        if (isUnder(path, grant.mount_path) &&
            (innermost == nullptr || grant.mount_path.size() > innermost->mount_path.size()))
            innermost = &grant;
    return innermost;
}

bool FsPolicy::mayRead(std::string_view path) const {
    if (grantFor(path) != nullptr) return true;
    auto covers = [&](std::string_view dir) { return isUnder(path, dir); };
    if (std::ranges::any_of(kHidden, covers)) return false;
    // A directory above a grant exists only to hold it; what is beside the grant is not mounted.
    auto above = [&](const agent::MountGrant& grant) { return isUnder(grant.mount_path, path); };
    return std::ranges::any_of(grants_, above) ||
           std::ranges::none_of(volume_mount_points_, covers);
}

bool FsPolicy::mayWrite(std::string_view path) const {
    if (const auto* grant = grantFor(path)) return grant->writable;
    return isUnder(path, kTmp) && path != kTmp;
}

}  // namespace aegis::tools
