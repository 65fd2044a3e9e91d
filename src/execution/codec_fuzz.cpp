#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "execution/event.h"

// Whatever decodes must encode within the limit and decode again to the same text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace aegis;
    using namespace aegis::execution;
    std::string_view text(reinterpret_cast<const char*>(bytes), size);
    auto end = text.find('\n');
    if (end == std::string_view::npos) return 0;
    auto value = json::parse(text.substr(end + 1));
    if (!value) return 0;
    auto data = decodeData(text.substr(0, end), 1, *value);
    if (!data) return 0;
    Event event;
    event.data = std::move(*data);
    std::string first = json::dump(encodeData(event));
    if (first.size() > kMaxEventBytes) std::abort();
    auto again = decodeData(typeName(event), encodingVersion(event), *json::parse(first));
    if (!again) std::abort();
    event.data = std::move(*again);
    if (json::dump(encodeData(event)) != first) std::abort();
    return 0;
}
