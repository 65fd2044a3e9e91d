#include "text/escape.h"

#include <fmt/format.h>

#include "text/json.h"

namespace aegis::text {
namespace {

bool isTail(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Decodes a well-formed sequence.
char32_t decode(std::string_view s) {
    auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
    switch (s.size()) {
        case 1:
            return byte(0);
        case 2:
            return char32_t((byte(0) & 0x1f) << 6 | (byte(1) & 0x3f));
        case 3:
            return char32_t((byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f));
        default:
            return char32_t((byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 |
                            (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f));
    }
}

bool isHidden(char32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0x2028 || c == 0x2029;
}

std::string visible(char32_t c) {
    if (c == '\n') return "\\n";
    if (c == '\r') return "\\r";
    if (c == '\t') return "\\t";
    return c < 0x80 ? fmt::format("\\x{:02x}", static_cast<unsigned>(c))
                    : fmt::format("\\u{:04x}", static_cast<unsigned>(c));
}

}  // namespace

std::string escapeControl(std::string_view text, Lines lines) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        std::size_t length = json::utf8Length(text, at);
        if (length == 0) {
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at++]));
            continue;
        }
        std::string_view sequence = text.substr(at, length);
        char32_t c = decode(sequence);
        bool kept = lines == Lines::kKeep && (c == '\n' || c == '\t');
        if (isHidden(c) && !kept)
            out += visible(c);
        else
            out += sequence;
        at += length;
    }
    return out;
}

std::string_view headUtf8(std::string_view text, std::size_t max_bytes) {
    if (text.size() <= max_bytes) return text;
    // A sequence has at most three bytes after its first; more of them in a row is no UTF-8.
    std::size_t cut = max_bytes;
    for (int back = 0; back < 3 && cut > 0 && isTail(text[cut]); ++back)
        --cut;
    if (isTail(text[cut])) cut = max_bytes;
    return text.substr(0, cut);
}

std::string_view tailUtf8(std::string_view text, std::size_t max_bytes) {
    if (text.size() <= max_bytes) return text;
    std::size_t cut = text.size() - max_bytes;
    std::size_t from = cut;
    for (int ahead = 0; ahead < 3 && from < text.size() && isTail(text[from]); ++ahead)
        ++from;
    return text.substr(from < text.size() && isTail(text[from]) ? cut : from);
}

std::string shorten(std::string_view text, std::size_t max_bytes) {
    if (text.size() <= max_bytes) return std::string(text);
    return std::string(headUtf8(text, max_bytes - std::min<std::size_t>(max_bytes, 3))) + "...";
}

}  // namespace aegis::text
