#include <set>

#include "ports/volume_sources.h"
#include "runner/deps.h"

namespace aegis::runner {

Result<std::vector<std::string>> locksOf(const ExecutionContext& context, ports::Volumes& volumes) {
    std::set<std::string> out;
    for (const auto& volume : context.manifest->volumes) {
        if (volume.access_mode != agent::AccessMode::kReadWrite) continue;
        if (const auto id = VolumeId::parse(volume.source_volume_id)) {
            // What is not there, or is not as the manifest says, cannot be attached either.
            auto record = volumes.get(*id);
            if (record)
                out.insert(ports::volumeLock(*record));
            else if (record.error().code != ErrorCode::kNotFound)
                return std::move(record.error());
        } else if (volume.storage_class == agent::StorageClass::kPersistent) {
            out.insert(ports::volumeLock(context.agent_id, volume.name));
        } else if (volume.ttl_ms.value_or(0) > 0) {
            out.insert(ports::ephemeralVolume(context.id, volume.name).str());
        }
    }
    return std::vector<std::string>(out.begin(), out.end());
}

}  // namespace aegis::runner
