#include "ports/volume_sources.h"

#include <fmt/format.h>

#include "text/digest.h"

namespace aegis::ports {
namespace {

std::string sizeText(std::uint64_t bytes) {
    constexpr std::uint64_t kMiB = 1U << 20U;
    return bytes % kMiB == 0 ? fmt::format("{}Mi", bytes / kMiB) : fmt::format("{}", bytes);
}

}  // namespace

VolumeId ephemeralVolume(const ExecutionId& execution, const std::string& name) {
    auto hex = text::sha256Hex(fmt::format("volume\n{}\n{}", execution.str(), name));
    hex[12] = '4';
    hex[16] = "89ab"[static_cast<unsigned>(hex[16] & 3)];
    auto id =
        VolumeId::parse(fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4),
                                    hex.substr(12, 4), hex.substr(16, 4), hex.substr(20, 12)));
    return id.value_or(VolumeId{});
}

std::string volumeLock(const AgentId& agent, const std::string& name) {
    return fmt::format("{}/{}", agent.str(), name);
}

std::string volumeLock(const VolumeRecord& record) {
    return record.storage_class == "ephemeral" ? record.id.str()
                                               : volumeLock(record.agent_id, record.name);
}

Status canBeMounted(const agent::Volume& volume, const VolumeRecord& record) {
    if (record.storage_class == "ephemeral" && record.ttl_ms <= 0)
        return {ErrorCode::kConflict,
                fmt::format("volume {} is deleted with execution {}", record.id.str(),
                            record.execution_id.str()),
                "only one that is persistent or has a ttl_hours can be a source"};
    if (volume.size_limit_bytes != 0 && record.size_limit_bytes != volume.size_limit_bytes)
        return {ErrorCode::kConflict,
                fmt::format("volume {} has {}, not {}", record.id.str(),
                            sizeText(record.size_limit_bytes), sizeText(volume.size_limit_bytes)),
                "leave its size out: a volume keeps its own"};
    return {};
}

}  // namespace aegis::ports
