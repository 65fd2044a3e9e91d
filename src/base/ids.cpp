#include "base/ids.h"

#include <span>

namespace aegis::detail {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";
constexpr bool isDash(std::size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

int hexValue(char c) {
    auto at = kHex.find(c);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

std::array<std::uint8_t, 16> generateUuid(Random& random) {
    std::array<std::uint8_t, 16> bytes{};
    random.fill(std::as_writable_bytes(std::span(bytes)));
    bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);
    bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
    return bytes;
}

bool parseUuid(std::string_view text, std::array<std::uint8_t, 16>& out) {
    if (text.size() != 36) return false;
    std::size_t nibble = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (isDash(i)) {
            if (text[i] != '-') return false;
            continue;
        }
        int value = hexValue(text[i]);
        if (value < 0) return false;
        auto& byte = out[nibble / 2];
        byte = static_cast<std::uint8_t>(nibble % 2 == 0 ? value << 4 : byte | value);
        ++nibble;
    }
    return true;
}

std::string formatUuid(const std::array<std::uint8_t, 16>& bytes) {
    std::string out;
    out.reserve(36);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
        out += kHex[bytes[i] >> 4];
        out += kHex[bytes[i] & 0xf];
    }
    return out;
}

}  // namespace aegis::detail

namespace aegis {

std::string shortId(std::string_view uuid) {
    return uuid.size() > 13 ? std::string(uuid.substr(0, 13)) + "-..." : std::string(uuid);
}

}  // namespace aegis
