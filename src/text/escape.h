#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace aegis::text {

enum class Lines {
    kOne,   ///< newlines and tabs are escaped too: the result is one line
    kKeep,  ///< newlines and tabs stay
};

/// Text of a model, a container or a manifest, safe to print on a terminal: control characters (C0,
/// DEL, C1), bidirectional overrides and isolates (U+202A to 202E, U+2066 to 2069), line and
/// paragraph separators (U+2028, 2029) and bytes that are not UTF-8 appear as \n, \t, \x1b or
/// \u202e; everything else is unchanged, backslashes too.
std::string escapeControl(std::string_view text, Lines lines = Lines::kOne);

/// The first, or last, `max_bytes` bytes of `text`, less the sequence of UTF-8 that the cut would
/// split.
std::string_view headUtf8(std::string_view text, std::size_t max_bytes);
std::string_view tailUtf8(std::string_view text, std::size_t max_bytes);

/// `text` itself, or its head and "..." within `max_bytes` bytes (at least 3).
std::string shorten(std::string_view text, std::size_t max_bytes);

}  // namespace aegis::text
