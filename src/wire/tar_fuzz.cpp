#include <cstdlib>

#include "wire/tar.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    using namespace aegis::wire;
    std::string_view bytes(reinterpret_cast<const char*>(data), size);
    constexpr std::uint64_t kLimit = 1 << 20;
    if (auto unpacked = gunzip(bytes, kLimit)) (void)readTar(*unpacked, 100);
    auto entries = readTar(bytes, 100);
    if (!entries) return 0;
    for (const auto& entry : *entries) {
        // Every name that was taken stays inside, every content inside the input.
        if (entry.name.starts_with('/') || entry.content.size() > size) std::abort();
    }
    return 0;
}
