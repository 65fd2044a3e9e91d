#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "agent/parse_context.h"
#include "base/ids.h"

namespace aegis::agent::detail {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kMaxVolumeBytes = 64ULL << 40;
constexpr yaml::SizeRange kSizes{kMiB, kMaxVolumeBytes, "1Mi to 64Ti"};
constexpr double kHourMs = 3'600'000;
constexpr double kMaxTtlHours = 24.0 * 3660;
constexpr yaml::DurationRange kTtls{0, static_cast<std::int64_t>(kMaxTtlHours* kHourMs),
                                    "at most ten years"};
constexpr std::size_t kMaxNameBytes = 63;

constexpr std::string_view kForbidden[] = {"/proc", "/sys",   "/dev",   "/etc", "/usr",  "/bin",
                                           "/lib",  "/lib32", "/lib64", "/run", "/sbin", "/aegis"};

bool isVolumeName(std::string_view text) {
    auto alphanumeric = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    return !text.empty() && text.size() <= kMaxNameBytes && alphanumeric(text.front()) &&
           std::ranges::all_of(
               text, [&](char c) { return alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

// The key that the manifest used, for messages.
std::string_view mountKey(const Reader& r) {
    return r.has("mount_path") && !r.has("mount_point") ? "mount_path" : "mount_point";
}

void readMountPoint(Reader& r, Volume& out) {
    bool both = r.get("mount_point") && r.get("mount_path");
    if (both) r.error("mount_path", "cannot be used with mount_point (expected one of the two)");
    auto key = mountKey(r);
    if (!r.require(key, "an absolute path") || !readPath(r, key, out.mount_point)) return;
    const std::string& path = out.mount_point;
    auto forbidden = std::ranges::find_if(kForbidden, [&](auto at) { return isWithin(path, at); });
    if (path == "/") {
        r.error(key, "a volume cannot be mounted at /");
    } else if (path == "/tmp") {
        r.error(key, "a volume cannot be mounted at /tmp, which is private to each iteration");
    } else if (forbidden != std::end(kForbidden)) {
        r.error(key, fmt::format("a volume cannot be mounted under {}", *forbidden));
    } else {
        return;
    }
    out.mount_point.clear();
}

void readSize(Reader& r, Volume& out) {
    std::vector<std::string> given;
    for (auto key : {"size_limit_mb", "size_limit", "size_limit_bytes"}) {
        if (r.has(key)) given.emplace_back(key);
    }
    if (given.size() > 1)
        r.error(given[1],
                fmt::format("cannot be used with {} (expected one of the two)", given[0]));
    std::int64_t mib = 0;
    if (r.integer("size_limit_mb", mib, 1, static_cast<std::int64_t>(kMaxVolumeBytes / kMiB)))
        out.size_limit_bytes = static_cast<std::uint64_t>(mib) * kMiB;
    r.size("size_limit", out.size_limit_bytes, kSizes);
    if (r.older("size_limit_bytes", "size_limit"))
        r.size("size_limit_bytes", out.size_limit_bytes, kSizes);
}

void readTtl(Reader& r, Volume& out) {
    double hours = 0;
    if (r.number("ttl_hours", hours, 0, kMaxTtlHours))
        out.ttl_ms = static_cast<std::int64_t>(std::llround(hours * kHourMs));
    if (r.older("ttl", "ttl_hours")) {
        std::int64_t ms = 0;
        if (r.has("ttl_hours"))
            r.error("ttl", "cannot be used with ttl_hours (expected one of the two)");
        else if (r.duration("ttl", ms, kTtls))
            out.ttl_ms = ms;
    }
    bool given = r.has("ttl_hours") || r.has("ttl");
    if (!out.source_volume_id.empty()) {
        if (given)
            r.error(r.has("ttl_hours") ? "ttl_hours" : "ttl",
                    "cannot be used with source (an existing volume keeps its own)");
        return;
    }
    if (out.storage_class == StorageClass::kEphemeral && !given)
        r.require("ttl_hours", "hours, for an ephemeral volume; 0: deleted at the end");
    if (out.storage_class == StorageClass::kPersistent && given)
        r.error(r.has("ttl_hours") ? "ttl_hours" : "ttl",
                "a persistent volume has none (expected only with storage_class ephemeral)");
}

void readSource(Reader& r, Volume& out, Context& context) {
    const Node* source = r.get("source");
    if (source) {
        Reader fields(*source, r.path("source"), context.problems, Reader::Unknown::kStrict);
        if (fields.require("volume_id", "the id of a volume"))
            fields.string("volume_id", out.source_volume_id);
        fields.finish();
    }
    if (r.older("volume_id", "source.volume_id")) {
        if (source) r.error("volume_id", "is given as source.volume_id too");
        r.string("volume_id", out.source_volume_id);
    }
    if (out.source_volume_id.empty()) return;
    auto key = source ? "source" : "volume_id";
    if (!VolumeId::parse(out.source_volume_id))
        r.error(key, fmt::format("{} is not the id of a volume (expected a UUID)",
                                 yaml::shown(out.source_volume_id)));
    context.demand(capability::kVolumeSource, r.path(key), *r.get(key),
                   "mounting an existing volume is");
}

void readVolume(Reader& r, Volume& out, Context& context) {
    constexpr std::string_view kName = "letters, digits, dashes, dots and underscores, at most 63";
    if (r.require("name", kName) && r.string("name", out.name) && !isVolumeName(out.name))
        r.error("name",
                fmt::format("{} is not a name (expected {})", yaml::shown(out.name), kName));
    readSource(r, out, context);
    const bool existing = !out.source_volume_id.empty();
    if (existing) {
        out.storage_class = StorageClass::kPersistent;
        out.size_limit_bytes = 0;  // unless given, the volume's own
    }
    bool given = r.choice("storage_class", out.storage_class, storageClasses());
    if (existing && out.storage_class == StorageClass::kEphemeral)
        r.error("storage_class",
                "cannot be ephemeral with source (an existing volume keeps its own)");
    if (given && out.storage_class == StorageClass::kPersistent)
        context.demand(capability::kPersistentVolume, r.path("storage_class"),
                       *r.get("storage_class"), "a persistent volume is");
    readMountPoint(r, out);
    r.choice("access_mode", out.access_mode, accessModes());
    readSize(r, out);
    readTtl(r, out);
    r.finish();
}

}  // namespace

void readVolumes(const Node& node, std::vector<Volume>& out, Context& context) {
    if (!node.isSequence()) {
        context.problems.error("spec.volumes", node,
                               fmt::format("is {} (expected a list)", describe(node)));
        return;
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        Reader r(node.items[i], yaml::itemPath("spec.volumes", i), context.problems,
                 Reader::Unknown::kStrict);
        if (!node.items[i].isMapping()) continue;
        Volume volume;
        readVolume(r, volume, context);
        for (const Volume& other : out) {
            if (!volume.name.empty() && other.name == volume.name)
                r.error("name",
                        fmt::format("another volume is named {} too", yaml::shown(volume.name)));
            if (!volume.source_volume_id.empty() &&
                other.source_volume_id == volume.source_volume_id)
                r.error(r.has("source") ? "source" : "volume_id",
                        fmt::format("volume {} mounts it too", yaml::shown(other.name)));
            const std::string &a = volume.mount_point, &b = other.mount_point;
            if (!a.empty() && !b.empty() && (isWithin(a, b) || isWithin(b, a)))
                r.error(mountKey(r),
                        fmt::format("{} overlaps {} of volume {}", a, b, yaml::shown(other.name)));
        }
        out.push_back(std::move(volume));
    }
}

}  // namespace aegis::agent::detail
