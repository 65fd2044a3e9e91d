#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "proto/launch.h"

// Whatever parses must encode again to the same bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace aegis::proto;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    if (auto request = launch::parseRequest(bytes)) {
        auto again = launch::encode(*request);
        if (!again || *again != bytes) std::abort();
    }
    if (auto finish = launch::parseFinish(bytes)) {
        auto again = launch::encode(*finish);
        if (!again || *again != bytes) std::abort();
    }
    if (auto reply = launch::parseReply(bytes)) {
        auto again = launch::encode(*reply);
        if (!again || *again != bytes) std::abort();
    }
    return 0;
}
