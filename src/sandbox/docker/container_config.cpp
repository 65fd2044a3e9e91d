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

json::Array mountList(const ContainerPlan& plan) {
    json::Array out{bindMount(plan.guest_dir, "/aegis/bin", true),
                    bindMount(plan.run.shared, "/aegis/run", true)};
    for (const auto& mount : *plan.mounts)
        out.push_back(bindMount(mount.source, mount.target, mount.read_only));
    // An image's VOLUME would become a writable place of unlimited size, and stay behind. The
    // engine cannot be told to forget it, but what is mounted at its path wins: an empty read-only
    // tmpfs (anonymous volumes cannot be read-only, named ones do not go with the container).
    for (const auto& path : plan.image->volumes) {
        const bool covered = path == "/tmp" || path.starts_with("/aegis") ||
                             std::any_of(plan.mounts->begin(), plan.mounts->end(),
                                         [&](const auto& m) { return m.target == path; });
        if (!covered)
            out.push_back(json::Object{{"Type", "tmpfs"},
                                       {"Target", path},
                                       {"ReadOnly", true},
                                       {"TmpfsOptions", json::Object{{"SizeBytes", 4096}}}});
    }
    return out;
}

json::Object hostConfig(const ContainerPlan& plan) {
    const auto& spec = *plan.spec;
    const std::int64_t millicores = std::min(spec.cpu_millicores, plan.host_cpus * 1000);
    json::Object host{
        {"NetworkMode", plan.network_mode},
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
    const bool tmp_is_volume = std::any_of(plan.mounts->begin(), plan.mounts->end(),
                                           [](const auto& m) { return m.target == "/tmp"; });
    if (!tmp_is_volume)
        host["Tmpfs"] = json::Object{
            {"/tmp", fmt::format("rw,exec,nosuid,nodev,mode=1777,size={}", spec.tmp_bytes)}};
    return host;
}

}  // namespace

json::Object containerConfig(const ContainerPlan& plan) {
    const auto& spec = *plan.spec;
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
            {"NetworkDisabled", false},
            {"StopTimeout", 0},
            {"Healthcheck", json::Object{{"Test", json::Array{"NONE"}}}},
            {"Labels", json::Object{{kLabelNode, plan.node.str()},
                                    {kLabelExecution, spec.id.execution.str()},
                                    {kLabelSandbox, fmt::format("{}", spec.id.ordinal)},
                                    {kLabelIteration, fmt::format("{}", spec.iteration)},
                                    {kLabelAgent, spec.agent_name},
                                    {kLabelRun, plan.run.name}}},
            {"HostConfig", hostConfig(plan)}};
}

}  // namespace aegis::sandbox
