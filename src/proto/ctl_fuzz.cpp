#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "proto/ctl.h"
#include "proto/guest.h"

// Whatever parses must encode again to the same bytes: the format has one spelling for each
// message.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace aegis::proto;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    if (auto message = ctl::parseGuestMessage(bytes)) {
        auto again = ctl::encode(*message);
        if (!again || *again != bytes) std::abort();
    }
    if (auto message = ctl::parseHostMessage(bytes)) {
        auto again = ctl::encode(*message);
        if (!again || *again != bytes) std::abort();
    }
    (void)guest::parseRequest(bytes);
    return 0;
}
