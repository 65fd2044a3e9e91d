#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "models/dialect.h"
#include "net/curl/curl_multi.h"

namespace aegis::models {

/// Why one attempt at a provider failed, and what may be tried next.
struct Failure {
    Error error;             ///< names the provider; never holds a key
    bool retryable = false;  ///< the same provider may do better in a moment
    bool fallback = false;   ///< another provider may do better
    std::optional<std::int64_t> retry_after_ms;
};

/// The transfer itself failed (refused, timeout, cut).
Failure transferFailure(const ProviderSettings& provider, const Error& error);

/// The provider answered with a status that is not 200. `body` is the start of what it says.
Failure statusFailure(const ProviderSettings& provider, int status, const wire::Headers& headers,
                      std::string_view body, UtcTime now);

/// The answer could not be read.
Failure readFailure(const ProviderSettings& provider, const Error& error, Fault fault);

/// The provider needs a key and has none.
Failure missingKey(const ProviderSettings& provider);

/// How long to wait according to "retry-after-ms" or "Retry-After" (seconds or an HTTP date; RFC
/// 9110, 10.2.3); none if absent or senseless.
std::optional<std::int64_t> retryAfterMs(const wire::Headers& headers, UtcTime now);

}  // namespace aegis::models
