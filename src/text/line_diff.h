#pragma once

#include <string>
#include <string_view>

namespace aegis::text {

/// What turns `before` into `after` as a unified diff with three lines of context (POSIX diff -u,
/// headed by the two names); empty if they are equal. A least edit (Myers 1986) unless the texts
/// differ in more than some 600 lines: then what lies between the first and the last difference is
/// replaced as a whole. Time O(lines * differences).
std::string unifiedDiff(std::string_view before, std::string_view after,
                        std::string_view before_name, std::string_view after_name);

}  // namespace aegis::text
