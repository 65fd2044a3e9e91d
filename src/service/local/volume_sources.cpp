#include "service/local/volume_sources.h"

#include <fmt/format.h>

#include "ports/volume_sources.h"

namespace aegis::service {
namespace {

/// The record of a volume's source, nothing if it has none.
Result<std::optional<ports::VolumeRecord>> sourceOf(ports::Volumes& volumes,
                                                    const agent::Volume& volume) {
    const auto id = VolumeId::parse(volume.source_volume_id);
    if (!id) return std::optional<ports::VolumeRecord>();
    auto record = volumes.get(*id);
    auto status = record ? ports::canBeMounted(volume, *record) : Status(record.error());
    if (status) return std::optional(std::move(*record));
    return std::move(status.error()).within(fmt::format("volume {}", volume.name));
}

}  // namespace

Status checkSources(ports::Volumes& volumes, const agent::Manifest& manifest) {
    for (const auto& volume : manifest.volumes)
        AEGIS_CHECK(sourceOf(volumes, volume));
    return {};
}

Status warnOfSources(ports::Volumes& volumes, const agent::Manifest& manifest,
                     std::vector<std::string>& warnings) {
    for (const auto& volume : manifest.volumes) {
        auto source = sourceOf(volumes, volume);
        if (source) {
            if (*source && (*source)->ttl_ms > 0)
                warnings.push_back(fmt::format(
                    "volume {}: volume {} is ephemeral: it is deleted {} h after the last "
                    "execution that had it",
                    volume.name, volume.source_volume_id,
                    static_cast<double>((*source)->ttl_ms) / 3'600'000));
            continue;
        }
        const auto& error = source.error();
        if (error.code != ErrorCode::kNotFound && error.code != ErrorCode::kConflict) return error;
        warnings.push_back(
            fmt::format("{}: the agent cannot be executed{}", error.message,
                        error.hint.empty() ? "" : fmt::format(" (hint: {})", error.hint)));
    }
    return {};
}

Status namedByNobody(ports::Registry& registry, const VolumeId& volume) {
    AEGIS_TRY(auto page, registry.list({}));
    const auto id = volume.str();
    for (const auto& record : page.records) {
        // Manifests are read only where they can be of interest.
        if (!record.manifest_json.contains(id)) continue;
        AEGIS_TRY(auto value, json::parse(record.manifest_json));
        AEGIS_TRY(auto manifest, agent::manifestFromJson(value));
        for (const auto& mounted : manifest.volumes)
            if (mounted.source_volume_id == id)
                return {ErrorCode::kConflict,
                        fmt::format("volume {} is mounted by agent \"{}\" (volume {})", id,
                                    record.name, mounted.name),
                        "delete the agent, or deploy it without the volume"};
    }
    return {};
}

}  // namespace aegis::service
