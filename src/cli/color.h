#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace aegis::cli {

enum class Color : std::uint8_t { kNone, kBold, kDim, kRed, kGreen, kYellow, kCyan, kBlue };

/// `text` in that colour, if `on`.
std::string painted(std::string_view text, Color color, bool on);

/// The colour of a status of an agent, execution or iteration, of PASS and FAIL; kNone for any
/// other word.
Color statusColor(std::string_view word);

/// Whether what is written to `fd` may have colours: a terminal, not TERM=dumb, no NO_COLOR
/// (https://no-color.org: set and not empty), not `refused` by a flag.
bool colorsOn(int fd, bool refused);

}  // namespace aegis::cli
