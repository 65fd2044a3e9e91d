#pragma once

#include <string>
#include <string_view>

namespace aegis::text {

/// SHA-256 (FIPS 180-4) as 64 lower-case hex digits.
std::string sha256Hex(std::string_view bytes);

/// SHA-256 as 32 raw bytes.
std::string sha256(std::string_view bytes);

}  // namespace aegis::text
