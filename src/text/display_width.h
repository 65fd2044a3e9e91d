#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace aegis::text {

/// Columns that UTF-8 text takes on a terminal: 2 for wide and fullwidth characters (Unicode
/// Standard Annex 11), 0 for combining and formatting ones, else 1; an ill-formed byte counts 1.
/// `text` holds no control characters (see escapeControl).
std::size_t displayWidth(std::string_view text);

/// `text`, or its head and "…" within `columns` (at least 1).
std::string fitWidth(std::string_view text, std::size_t columns);

}  // namespace aegis::text
