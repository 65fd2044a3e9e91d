#include <algorithm>
#include <set>

#include "agent/parse_context.h"

namespace aegis::agent {
namespace {

using detail::isWithin;

// Whether any of `paths` covers `path`.
bool coveredBy(const std::vector<std::string>& paths, std::string_view path) {
    return std::ranges::any_of(paths, [&](const std::string& p) { return isWithin(path, p); });
}

// What of `listed` lies in the volume: its mount point for a path at or above it.
void addListed(const std::optional<std::vector<std::string>>& listed, const std::string& mount,
               std::vector<std::string>& out) {
    if (!listed) return;
    for (const std::string& path : *listed) {
        if (isWithin(mount, path))
            out.push_back(mount);
        else if (isWithin(path, mount))
            out.push_back(path);
    }
}

void addGrants(const Volume& volume, const FilesystemSpec& rules, std::vector<MountGrant>& out) {
    const std::string& mount = volume.mount_point;
    bool may_write = volume.access_mode == AccessMode::kReadWrite;
    std::vector<std::string> read, write;
    if (rules.read)
        addListed(rules.read, mount, read);
    else
        read.push_back(mount);
    if (rules.write)
        addListed(rules.write, mount, write);
    else if (may_write)
        write.push_back(mount);
    // A path listed to be written is readable, and nothing more if the volume cannot be written.
    read.insert(read.end(), write.begin(), write.end());
    if (!may_write || rules.read_only) write.clear();

    std::set<std::string> paths(read.begin(), read.end());
    for (const std::string& path : paths) {
        bool writable = coveredBy(write, path);
        // A mount inside another of the volume is needed only where more is allowed.
        bool inside = std::ranges::any_of(paths, [&](const std::string& other) {
            return other != path && isWithin(path, other) && coveredBy(write, other) >= writable;
        });
        if (inside) continue;
        std::string sub = path == mount ? "" : path.substr(mount.size() + 1);
        out.push_back({volume.name, std::move(sub), path, writable});
    }
}

bool isServerTool(const std::string& tool, const NodeFacts& facts) {
    auto dot = tool.find('.');
    return dot != std::string::npos && facts.mcp_servers.contains(tool.substr(0, dot));
}

}  // namespace

std::vector<MountGrant> mountPlan(const Manifest& manifest) {
    std::vector<MountGrant> plan;
    for (const Volume& volume : manifest.volumes)
        addGrants(volume, manifest.security.filesystem, plan);
    std::ranges::sort(plan, {}, &MountGrant::mount_path);
    return plan;
}

std::vector<std::string> pathsToCreate(const Manifest& manifest) {
    std::set<std::string> paths;
    const FilesystemSpec& rules = manifest.security.filesystem;
    for (const Volume& volume : manifest.volumes) {
        if (volume.access_mode != AccessMode::kReadWrite) continue;
        for (const auto* listed : {&rules.read, &rules.write}) {
            if (!*listed) continue;
            for (const std::string& path : **listed) {
                if (path != volume.mount_point && isWithin(path, volume.mount_point))
                    paths.insert(path);
            }
        }
    }
    return {paths.begin(), paths.end()};
}

std::vector<std::string> offeredTools(const Manifest& manifest, const NodeFacts& facts) {
    auto plan = mountPlan(manifest);
    bool writable = std::ranges::any_of(plan, &MountGrant::writable);
    const NetworkSpec& net = manifest.security.network;
    bool network = net.mode == NetworkMode::kDeny ||
                   (net.mode == NetworkMode::kAllow && !net.allowlist.empty());
    auto canSucceed = [&](const std::string& tool) {
        if (isServerTool(tool, facts)) return true;
        if (!facts.tools.contains(tool)) return false;
        if (tool == "web.fetch") return network;
        if (!tool.starts_with("fs.")) return true;
        bool writes = tool == "fs.write" || tool == "fs.edit" || tool == "fs.create_dir" ||
                      tool == "fs.delete";
        return writes ? writable : !plan.empty();
    };
    std::vector<std::string> offered;
    if (manifest.tools) {
        for (const ToolGrant& grant : *manifest.tools) {
            if (canSucceed(grant.name)) offered.push_back(grant.name);
        }
    } else {
        std::ranges::copy_if(builtinTools(), std::back_inserter(offered), canSucceed);
    }
    return offered;
}

std::string defaultCwd(const Manifest& manifest) {
    return manifest.volumes.empty() ? "/tmp" : manifest.volumes.front().mount_point;
}

}  // namespace aegis::agent
