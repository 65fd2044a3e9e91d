#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace aegis::bench {

/// The size of the first whole HTTP/1.1 message in `buffer`, head and body; 0 while it is not whole
/// yet. Only what the two programs here and the daemon write is understood: a Content-Length, or
/// chunks.
std::size_t messageSize(std::string_view buffer);

std::int64_t nowNs();

/// Ends the program with `what` and errno's text.
[[noreturn]] void die(const char* what);

/// A socket that does not block, connected to "unix:PATH" or "tcp:PORT" on the loopback.
int connectTo(const std::string& address);

}  // namespace aegis::bench
