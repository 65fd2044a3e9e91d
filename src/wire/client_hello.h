#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace aegis::wire {

/// The most that a ClientHello may take before it is complete, TLS records included.
inline constexpr std::size_t kMaxClientHelloBytes = 32U << 10;

/// What the first message of TLS says in the clear.
struct ClientHello {
    std::optional<std::string> server_name;  ///< as sent; none: no such extension
};

/// Reads the ClientHello at the beginning of `bytes` (RFC 8446 4.1.2 and 5.1, RFC 6066 3), which
/// may be spread over several records. nullopt: it is not complete yet. kInvalid for whatever is
/// no ClientHello, or could be read in two ways (two names, a NUL, bytes behind the end); kTooLarge
/// beyond the limit. Further records behind it are not looked at. Pure.
Result<std::optional<ClientHello>> parseClientHello(std::string_view bytes);

}  // namespace aegis::wire
