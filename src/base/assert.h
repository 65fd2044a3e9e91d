#pragma once

namespace aegis {
[[noreturn]] void assertFailed(const char* expression, const char* file, int line);
}

/// A programmer's error, checked in release builds too. Must never fire on anything a user can
/// send.
#define AEGIS_ASSERT(expression)            \
    (static_cast<bool>(expression) ? void() \
                                   : ::aegis::assertFailed(#expression, __FILE__, __LINE__))
