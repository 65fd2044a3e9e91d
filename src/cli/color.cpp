#include "cli/color.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace aegis::cli {

std::string painted(std::string_view text, Color color, bool on) {
    constexpr std::array<std::string_view, 8> kCodes{"0", "1", "2", "31", "32", "33", "36", "34"};
    if (!on || color == Color::kNone || text.empty()) return std::string(text);
    return fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<std::size_t>(color)], text);
}

Color statusColor(std::string_view word) {
    constexpr std::array<std::pair<std::string_view, Color>, 20> kWords{
        {{"completed", Color::kGreen},  {"success", Color::kGreen},    {"deployed", Color::kGreen},
         {"PASS", Color::kGreen},       {"Completed", Color::kGreen},  {"built", Color::kGreen},
         {"ok", Color::kGreen},         {"failed", Color::kRed},       {"FAIL", Color::kRed},
         {"Failed", Color::kRed},       {"running", Color::kCyan},     {"Started", Color::kCyan},
         {"pending", Color::kYellow},   {"paused", Color::kYellow},    {"refining", Color::kYellow},
         {"cancelled", Color::kYellow}, {"Cancelled", Color::kYellow}, {"warning", Color::kYellow},
         {"archived", Color::kDim},     {"not built", Color::kDim}}};
    for (const auto& [known, color] : kWords) {
        if (known == word) return color;
    }
    return Color::kNone;
}

bool colorsOn(int fd, bool refused) {
    const char* term = std::getenv("TERM");
    const char* no_color = std::getenv("NO_COLOR");
    bool dumb = term == nullptr || *term == '\0' || std::string_view(term) == "dumb";
    bool none = no_color != nullptr && *no_color != '\0';
    return !refused && !dumb && !none && ::isatty(fd) == 1;
}

}  // namespace aegis::cli
