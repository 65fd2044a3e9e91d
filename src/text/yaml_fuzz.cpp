#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "text/yaml.h"

// What parses converts to JSON and back to the same JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace aegis;
    std::string_view text(reinterpret_cast<const char*>(data), size);
    auto documents = yaml::parse(text);
    if (!documents) {
        AEGIS_ASSERT(!documents.error().message.empty());
        return 0;
    }
    std::size_t at = 0;
    for (const auto& document : *documents) {
        AEGIS_ASSERT(document.begin == at && document.end <= size);
        at = document.end;
        auto value = yaml::toJson(document.root);
        if (!value) continue;
        auto again = yaml::toJson(yaml::fromJson(*value));
        AEGIS_ASSERT(again && json::dump(*again) == json::dump(*value));
    }
    return 0;
}
