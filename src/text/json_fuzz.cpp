#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "text/json.h"

// Whatever parses prints to a text that parses to the same value and prints to the same text again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    auto value = aegis::json::parse(text);
    if (!value) {
        AEGIS_ASSERT(value.error().details.size() == 1 && value.error().details[0].line > 0);
        return 0;
    }
    std::string once = aegis::json::dump(*value);
    auto again = aegis::json::parse(once);
    AEGIS_ASSERT(again && aegis::json::dump(*again) == once);
    AEGIS_ASSERT(aegis::json::parse(aegis::json::dumpPretty(*value)).value() == *again);
    return 0;
}
