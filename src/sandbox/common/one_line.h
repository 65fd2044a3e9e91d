#pragma once

#include <string>
#include <string_view>

namespace aegis::sandbox {

/// Text of somebody else's made fit for one line of output: at most 1 KiB, control characters
/// replaced by spaces, well-formed UTF-8. Pure.
std::string oneLine(std::string_view text);

}  // namespace aegis::sandbox
