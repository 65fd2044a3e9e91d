#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "text/json_schema.h"

// The text is a schema, a newline, an instance: whatever they are, checking ends and names its
// places.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    std::size_t newline = text.find('\n');
    if (newline == text.npos) return 0;
    auto schema = aegis::json::parse(text.substr(0, newline));
    auto instance = aegis::json::parse(text.substr(newline + 1));
    if (!schema || !instance) return 0;
    auto compiled = aegis::text::JsonSchema::compile(*schema);
    if (!compiled) {
        AEGIS_ASSERT(!compiled.error().details.empty());
        return 0;
    }
    for (const auto& violation : compiled->validate(*instance, {.max_steps = 20'000}))
        AEGIS_ASSERT(violation.pointer.starts_with('/') && !violation.message.empty());
    return 0;
}
