#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "wire/client_hello.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view bytes(reinterpret_cast<const char*>(data), size);
    auto whole = aegis::wire::parseClientHello(bytes);
    if (!whole || !*whole) return 0;
    // A part of a good one is incomplete, or was followed by other records; never another name.
    auto part = aegis::wire::parseClientHello(bytes.substr(0, size - 1));
    AEGIS_ASSERT(part && (!*part || (*part)->server_name == (*whole)->server_name));
    return 0;
}
