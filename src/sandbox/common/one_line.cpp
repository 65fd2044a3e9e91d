#include "sandbox/common/one_line.h"

#include <algorithm>

#include "text/json.h"

namespace aegis::sandbox {
namespace {
constexpr std::size_t kMaxText = 1024;
}

std::string oneLine(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
        text.remove_suffix(1);
    auto out = json::toUtf8(text.substr(0, kMaxText));
    std::replace_if(
        out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
    return out;
}

}  // namespace aegis::sandbox
