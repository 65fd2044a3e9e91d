#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace aegis::net {

inline constexpr std::size_t kMaxUrlBytes = 8192;

/// An http or https URL without user, password and fragment, as libcurl reads it: what is checked
/// and what is sent are the same reading.
struct Url {
    std::string text;  ///< whole, normalised, without control characters
    std::string scheme;
    std::string host;  ///< as in `text`: IPv6 in brackets, upper case as it was
    std::uint16_t port = 0;
};

/// kInvalid, whose message says what is wrong. `base`: what a relative reference is taken from
/// (RFC 3986, 5.2). Loads libcurl: kUnsupported where it is missing. Any thread.
Result<Url> parseUrl(const std::string& text, const Url* base = nullptr);

}  // namespace aegis::net
