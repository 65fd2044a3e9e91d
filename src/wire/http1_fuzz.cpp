#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "wire/http1.h"
#include "wire/target.h"

using namespace aegis::wire;

namespace {

/// However the bytes are cut, the decoded body and the verdict must be the same.
void decodeBothWays(BodyFraming framing, std::string_view bytes, std::size_t step) {
    BodyDecoder whole(framing, 1U << 16);
    std::string whole_out;
    auto whole_used = whole.feed(bytes, whole_out);
    BodyDecoder cut(framing, 1U << 16);
    std::string cut_out;
    std::size_t used = 0;
    bool failed = false;
    while (used < bytes.size() && !cut.done() && !failed) {
        auto n = cut.feed(bytes.substr(used, step), cut_out);
        failed = !n;
        used += n ? *n : 0;
    }
    AEGIS_ASSERT(failed == !whole_used);
    if (!failed) AEGIS_ASSERT(used == *whole_used && whole_out == cut_out);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view bytes(reinterpret_cast<const char*>(data), size);
    auto end = findHeadEnd(bytes);
    if (!end || *end == 0) {
        decodeBothWays({Framing::kChunked, 0}, bytes, 1 + size % 7);
        return 0;
    }
    auto head = bytes.substr(0, *end);
    if (auto request = parseRequestHead(head)) {
        // What we accept we can send, and it is read back as the same.
        auto again = parseRequestHead(serialize(*request));
        AEGIS_ASSERT(again && again->target == request->target);
        AEGIS_ASSERT(again->headers.size() == request->headers.size());
        if (auto target = parseTarget(request->target))
            AEGIS_ASSERT(target->path == "*" || target->path.find("/../") == std::string::npos);
        if (auto framing = requestFraming(*request))
            decodeBothWays(*framing, bytes.substr(*end), 1 + size % 7);
    }
    if (auto response = parseResponseHead(head)) {
        if (auto framing = responseFraming(*response, "GET"))
            decodeBothWays(*framing, bytes.substr(*end), 1 + size % 7);
    }
    return 0;
}
