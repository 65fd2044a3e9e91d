#include "sandbox/docker/container_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "sandbox/docker/seccomp_profile.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kSharedMemoryBytes = 4 << 20;

json::Object bindMount(const std::string& source, const std::string& target, bool read_only) {
    // Not recursive: a mount below the source would keep its own, writable, flags.
    return {{"Type", "bind"},
            {"Source", source},
            {"Target", target},
            {"ReadOnly", read_only},
            {"BindOptions", json::Object{{"Propagation", "rprivate"}, {"NonRecursive", true}}}};
}

bool covered(const ContainerPlan& plan, std::string_view path) {
    return std::any_of(plan.places->begin(), plan.places->end(),
                       [&](const auto& place) { return place.target == path; });
}

/// A directory with nothing in it, and no room for anything.
json::Object emptyPlace(const std::string& target) {
    return {{"Type", "tmpfs"},
            {"Target", target},
            {"ReadOnly", true},
            {"TmpfsOptions", json::Object{{"SizeBytes", 4096}}}};
}

json::Array mountList(const ContainerPlan& plan) {
    json::Array out{bindMount(plan.guest_dir, "/aegis/bin", true),
                    bindMount(plan.run.shared, "/aegis/run", true)};
    // The root cannot be written to later on: the engine makes the places. Any file will do.
    for (const auto& place : *plan.places)
        out.push_back(place.directory ? emptyPlace(place.target)
                                      : bindMount(plan.run.hostsFile(), place.target, true));
    // Without a network of the engine's there is no file of the engine's either.
    if (!covered(plan, "/etc") && !covered(plan, "/etc/hosts"))
        out.push_back(bindMount(plan.run.hostsFile(), "/etc/hosts", true));
    // An image's VOLUME would become a writable place of unlimited size, and stay behind. The
    // engine cannot be told to forget it, but what is mounted at its path wins: an empty read-only
    // tmpfs (anonymous volumes cannot be read-only, named ones do not go with the container).
    for (const auto& path : plan.image->volumes) {
        if (path != "/tmp" && !path.starts_with("/aegis") && !covered(plan, path))
            out.push_back(emptyPlace(path));
    }
    return out;
}

json::Object hostConfig(const ContainerPlan& plan) {
    const auto& spec = *plan.spec;
    const std::int64_t millicores = std::min(spec.cpu_millicores, plan.host_cpus * 1000);
    json::Object host{
        {"NetworkMode", "none"},
        {"ReadonlyRootfs", true},
        {"Privileged", false},
        {"CapDrop", json::Array{"ALL"}},
        {"SecurityOpt", json::Array{"no-new-privileges", "seccomp=" + seccompProfile()}},
        {"NanoCpus", millicores * 1'000'000},
        {"Memory", spec.memory_bytes},
        {"MemorySwap", spec.memory_bytes},
        {"PidsLimit", std::max(spec.pids + 1, kPidsToStart)},
        {"OomScoreAdj", 500},
        {"ShmSize", kSharedMemoryBytes},
        {"LogConfig", json::Object{{"Type", "none"}, {"Config", json::Object{}}}},
        {"Init", false},
        {"IpcMode", "private"},
        {"CgroupnsMode", "private"},
        {"RestartPolicy", json::Object{{"Name", "no"}}},
        {"AutoRemove", false},
        {"Ulimits", json::Array{json::Object{{"Name", "nofile"}, {"Soft", 1024}, {"Hard", 4096}},
                                json::Object{{"Name", "core"}, {"Soft", 0}, {"Hard", 0}}}},
        {"Mounts", mountList(plan)}};
    if (!covered(plan, "/tmp"))
        host["Tmpfs"] = json::Object{
            {"/tmp", fmt::format("rw,exec,nosuid,nodev,mode=1777,size={}", spec.tmp_bytes)}};
    return host;
}

json::Object labels(const ContainerPlan& plan) {
    const auto& spec = *plan.spec;
    if (plan.ahead)
        return {{kLabelNode, plan.node.str()}, {kLabelWarm, "1"}, {kLabelRun, plan.run.name}};
    return {{kLabelNode, plan.node.str()},
            {kLabelExecution, spec.id.execution.str()},
            {kLabelSandbox, fmt::format("{}", spec.id.ordinal)},
            {kLabelIteration, fmt::format("{}", spec.iteration)},
            {kLabelAgent, spec.agent_name},
            {kLabelRun, plan.run.name}};
}

}  // namespace

std::vector<Place> placesOf(const std::vector<OpenMount>& mounts) {
    std::vector<Place> out;
    for (const auto& one : mounts)
        if (around(mounts, one) == nullptr) out.push_back({one.target, one.directory});
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

json::Object containerConfig(const ContainerPlan& plan) {
    return {{"Image", plan.image->id},
            {"Hostname", "aegis"},
            {"User", "1000:1000"},
            {"Entrypoint", json::Array{"/aegis/bin/init"}},
            {"Cmd", json::Array{}},
            {"WorkingDir", "/"},
            {"Env", json::Array{"HOME=/tmp"}},
            {"AttachStdin", false},
            {"AttachStdout", false},
            {"AttachStderr", false},
            {"Tty", false},
            {"OpenStdin", false},
            // With it the engine leaves networks alone: a fresh network namespace with nothing but
            // loopback all the same, without two more starts of dockerd itself for each container.
            {"NetworkDisabled", true},
            {"StopTimeout", 0},
            {"Healthcheck", json::Object{{"Test", json::Array{"NONE"}}}},
            {"Labels", labels(plan)},
            {"HostConfig", hostConfig(plan)}};
}

}  // namespace aegis::sandbox
