#include <cstddef>
#include <cstdint>

#include "agent/manifest.h"
#include "base/assert.h"

// What is accepted survives being stored, and can be deployed again in its resolved form.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace aegis;
    static const agent::NodeFacts kFacts;
    std::string_view text(reinterpret_cast<const char*>(data), size);
    auto parsed = agent::parseManifests(text, "m.yaml", kFacts);
    if (!parsed) {
        AEGIS_ASSERT(!parsed.error().details.empty());
        return 0;
    }
    for (const auto& one : *parsed) {
        auto resolved = agent::manifestToJson(one.manifest);
        auto stored = json::parse(json::dump(resolved));
        AEGIS_ASSERT(stored);
        auto loaded = agent::manifestFromJson(*stored);
        AEGIS_ASSERT(loaded && *loaded == one.manifest);
        for (const auto& grant : agent::mountPlan(one.manifest))
            AEGIS_ASSERT(grant.mount_path.starts_with('/'));
    }
    return 0;
}
