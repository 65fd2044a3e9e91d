#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "agent/parse_context.h"

namespace aegis::agent::detail {
namespace {

constexpr std::uint64_t kMaxBytes = 1ULL << 50;
constexpr yaml::SizeRange kMemory{6 << 20, kMaxBytes, "at least 6Mi"};
constexpr yaml::SizeRange kDisk{64 << 10, kMaxBytes, "at least 64Ki"};
constexpr int kMinMillicores = 10;
constexpr double kMaxMillicores = 1e9;
constexpr std::int64_t kMinPids = 8;
constexpr std::int64_t kMaxPids = 4'194'304;  // the kernel's PID_MAX_LIMIT

void readRules(Reader& r, std::string_view key, std::vector<std::string>& out) {
    if (!r.strings(key, out)) return;
    const Node& node = *r.get(key);
    for (std::size_t i = 0; i < out.size(); ++i) {
        auto problem = networkRuleProblem(out[i]);
        if (!problem.empty())
            r.problems().error(yaml::itemPath(r.path(key), i), node.items[i], problem);
    }
}

void readNetwork(const Node& node, const std::string& path, bool older, NetworkSpec& out,
                 Context& context) {
    Reader r(node, path, context.problems, Reader::Unknown::kStrict);
    bool mode_ok = r.choice("mode", out.mode, networkModes()) || !r.has("mode");
    readRules(r, "allowlist", out.allowlist);
    readRules(r, "denylist", out.denylist);
    if (out.mode == NetworkMode::kDeny && older) {
        out.mode = NetworkMode::kNone;
    } else if (out.mode == NetworkMode::kDeny && out.denylist.empty() && !r.has("denylist")) {
        r.warning("mode", "deny without a denylist means none");
        out.mode = NetworkMode::kNone;
    }
    if (mode_ok && out.mode == NetworkMode::kNone && !out.allowlist.empty())
        r.error("allowlist",
                "cannot be used with mode none (expected mode allow, or no allowlist)");
    if (out.mode == NetworkMode::kDeny && !out.allowlist.empty())
        r.warning("allowlist", "without effect: mode deny permits all that denylist does not name");
    if (out.mode == NetworkMode::kAllow && out.allowlist.empty())
        r.warning("mode", "allow without an allowlist permits nothing");
    if (out.mode != NetworkMode::kNone && context.checks() &&
        !context.facts->capabilities.contains(capability::kEgress))
        r.warning("mode", "no egress proxy on this node yet: nothing but loopback is reachable");
    r.finish();
}

bool isGlob(std::string_view path) { return path.find_first_of("*?[") != std::string_view::npos; }

// A listed path, normalised, without its "/**".
std::optional<std::string> listedPath(std::string_view text, const Node& node,
                                      const std::string& path, Problems& problems) {
    std::string_view base = text;
    if (base.ends_with("/**")) base.remove_suffix(base.size() == 3 ? 2 : 3);
    auto normal = isGlob(base) ? std::nullopt : normalisePath(base);
    if (!normal)
        problems.error(path, node,
                       fmt::format("{} is not valid (expected an absolute path without .., which "
                                   "may end in /** but holds no other glob)",
                                   yaml::shown(text)));
    return normal;
}

// Why nothing of a `write` path can be written, or "".
std::string writeProblem(const std::string& path, const std::vector<Volume>& volumes) {
    bool covers = false;
    for (const Volume& volume : volumes) {
        bool read_only = volume.access_mode == AccessMode::kReadOnly;
        if (isWithin(path, volume.mount_point))
            return read_only ? fmt::format("{} is in volume {}, whose access_mode is read-only",
                                           path, yaml::shown(volume.name))
                             : "";
        if (!isWithin(volume.mount_point, path)) continue;
        covers = true;
        if (!read_only) return "";
    }
    if (covers) return fmt::format("every volume under {} has access_mode read-only", path);
    return fmt::format("{} is under no volume; only volumes can be written", path);
}

void readPaths(Reader& r, std::string_view key, std::optional<std::vector<std::string>>& out,
               const std::vector<Volume>* writable_in) {
    std::vector<std::string> listed;
    if (!r.strings(key, listed)) return;
    const Node& node = *r.get(key);
    std::vector<std::string> paths;
    for (std::size_t i = 0; i < listed.size(); ++i) {
        auto where = yaml::itemPath(r.path(key), i);
        auto path = listedPath(listed[i], node.items[i], where, r.problems());
        if (!path) continue;
        auto problem = writable_in ? writeProblem(*path, *writable_in) : "";
        if (!problem.empty()) r.problems().error(where, node.items[i], problem);
        if (std::ranges::find(paths, *path) == paths.end()) paths.push_back(*path);
    }
    out = std::move(paths);
}

void readFilesystem(const Node& node, const std::string& path, const std::vector<Volume>& volumes,
                    bool volumes_ok, bool older, FilesystemSpec& out, Context& context) {
    Reader r(node, path, context.problems, Reader::Unknown::kStrict);
    // A volume that could not be read would make every path under it look wrong.
    readPaths(r, older ? "read_paths" : "read", out.read, nullptr);
    readPaths(r, older ? "write_paths" : "write", out.write, volumes_ok ? &volumes : nullptr);
    r.boolean("read_only", out.read_only);
    if (out.read_only && out.write && !out.write->empty())
        r.warning("read_only", "true makes every mount read-only: write has no effect");
    r.finish();
}

std::optional<double> cores(const std::string& text) {
    double value = 0;
    auto [end, ec] =
        std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (ec != std::errc{} || end != text.data() + text.size() || !(value >= 0)) return std::nullopt;
    return value;
}

// Integer millicores, "500m", or a quoted decimal number of cores; nullopt for anything else.
std::optional<double> millicores(const Node& node) {
    if (!node.isScalar()) return std::nullopt;
    const std::string& text = node.scalar;
    json::Value value = yaml::resolve(node);
    if (value.is_int64()) return static_cast<double>(value.get_int64());
    if (value.is_uint64()) return static_cast<double>(value.get_uint64());
    if (value.is_number()) return std::nullopt;
    if (text.ends_with('m')) {
        std::int64_t whole = 0;
        auto [end, ec] = std::from_chars(text.data(), text.data() + text.size() - 1, whole);
        if (ec != std::errc{} || end != text.data() + text.size() - 1) return std::nullopt;
        return static_cast<double>(whole);
    }
    auto count = cores(text);
    if (!count) return std::nullopt;
    return std::round(*count * 1000);
}

void setCpu(Reader& r, std::string_view key, double value, ResourceSpec& out,
            const Context& context) {
    double cap = context.checks() && context.facts->host_millicores > 0
                     ? context.facts->host_millicores
                     : kMaxMillicores;
    if (value > cap) r.warning(key, fmt::format("more than this host has: {}m is used", cap));
    out.cpu_millicores = static_cast<int>(std::min(value, cap));
}

void readCpu(Reader& r, ResourceSpec& out, const Context& context) {
    const Node* node = r.get("cpu");
    if (!node) return;
    auto value = millicores(*node);
    if (!value) {
        std::string hint;
        if (node->isScalar() && yaml::resolve(*node).is_double())
            hint = fmt::format("; did you mean \"{}\", quoted?", node->scalar);
        r.error("cpu", fmt::format("{} is not valid (expected millicores such as 500 or 500m, or a "
                                   "quoted number of cores such as \"0.5\"{})",
                                   yaml::shown(*node), hint));
        return;
    }
    if (*value < kMinMillicores) {
        std::string hint =
            *value >= 1 && yaml::resolve(*node).is_number()
                ? fmt::format("; write \"{}\" for {} cores", node->scalar, node->scalar)
                : std::string();
        r.error("cpu", fmt::format("{} is under 10m (expected at least 10 millicores{})",
                                   yaml::shown(*node), hint));
        return;
    }
    setCpu(r, "cpu", *value, out, context);
}

// cpu_quota is the kernel's: microseconds of every 100 ms.
void readOlderResources(Reader& r, ResourceSpec& out, const Context& context) {
    constexpr std::int64_t kMinQuota = 1000;
    constexpr std::int64_t kPerMillicore = 100;
    std::int64_t quota = 0;
    if (r.integer("cpu_quota", quota, kMinQuota,
                  static_cast<std::int64_t>(kMaxMillicores) * kPerMillicore))
        setCpu(r, "cpu_quota", static_cast<double>(quota / kPerMillicore), out, context);
    r.size("memory_bytes", out.memory_bytes, kMemory);
    std::int64_t seconds = 0;
    if (r.integer("timeout_secs", seconds, 1, kUpToADay.max_ms / 1000))
        out.timeout_ms = seconds * 1000;
    const std::pair<const char*, const char*> kPairs[] = {
        {"cpu_quota", "cpu"}, {"memory_bytes", "memory"}, {"timeout_secs", "timeout"}};
    for (const auto& [before, today] : kPairs) {
        if (r.has(before) && r.has(today))
            r.error(before, fmt::format("cannot be used with {} (expected one of the two)", today));
    }
}

void readResources(const Node& node, const std::string& path, bool older, ResourceSpec& out,
                   Context& context) {
    Reader r(node, path, context.problems, Reader::Unknown::kStrict);
    readCpu(r, out, context);
    r.size("memory", out.memory_bytes, kMemory);
    r.size("disk", out.disk_bytes, kDisk);
    r.integer("pids", out.pids, kMinPids, kMaxPids);
    r.duration("timeout", out.timeout_ms, kUpToADay);
    if (older) readOlderResources(r, out, context);
    r.finish();
}

}  // namespace

void readSecurity(const Node* node, const OlderSecurity& older, const std::vector<Volume>& volumes,
                  bool volumes_ok, SecuritySpec& out, Context& context) {
    Node empty;
    empty.kind = Node::Kind::kMapping;
    Reader r(node ? *node : empty, "spec.security", context.problems, Reader::Unknown::kStrict);
    const Node* network = r.get("network");
    const Node* filesystem = r.get("filesystem");
    const Node* resources = r.get("resources");
    const Node* policy = r.older("network_policy", "network");
    const Node* files_policy = r.older("filesystem_policy", "filesystem");
    r.finish();
    auto pick = [&](std::string_view key, const Node* today, const Node* inside,
                    const Node* outside) {
        int given = (today ? 1 : 0) + (inside ? 1 : 0) + (outside ? 1 : 0);
        if (given > 1)
            context.problems.error(r.path(key), today ? *today : *inside,
                                   "is given twice, in an older spelling too");
        return inside ? inside : outside;
    };
    const Node* older_network = pick("network", network, policy, older.network_policy);
    const Node* older_files = pick("filesystem", filesystem, files_policy, older.filesystem_policy);
    const Node* older_resources = pick("resources", resources, nullptr, older.resources);
    if (network) {
        readNetwork(*network, r.path("network"), false, out.network, context);
    } else if (older_network) {
        readNetwork(*older_network, policy ? r.path("network_policy") : "spec.network_policy", true,
                    out.network, context);
    }
    if (filesystem) {
        readFilesystem(*filesystem, r.path("filesystem"), volumes, volumes_ok, false,
                       out.filesystem, context);
    } else if (older_files) {
        readFilesystem(*older_files,
                       files_policy ? r.path("filesystem_policy") : "spec.filesystem_policy",
                       volumes, volumes_ok, true, out.filesystem, context);
    }
    if (resources) {
        readResources(*resources, r.path("resources"), false, out.resources, context);
    } else if (older_resources) {
        readResources(*older_resources, "spec.resources", true, out.resources, context);
    }
}

}  // namespace aegis::agent::detail
