#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "agent/parse_context.h"

namespace aegis::agent::detail {
namespace {

constexpr std::size_t kMaxPathBytes = 4095;      // PATH_MAX less its NUL
constexpr std::size_t kMaxComponentBytes = 255;  // NAME_MAX
constexpr std::size_t kMaxHostBytes = 253;       // RFC 1035, 2.3.4, in text
constexpr std::size_t kMaxLabelBytes = 63;

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isHexDigit(char c) { return isDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool isNumberUpTo(std::string_view text, int max) {
    int value = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    return !text.empty() && std::ranges::all_of(text, isDigit) && ec == std::errc{} &&
           end == text.data() + text.size() && value <= max;
}

bool isIpv4(std::string_view text) {
    for (int part = 0; part < 4; ++part) {
        auto dot = text.find('.');
        auto octet = text.substr(0, dot);
        if (!isNumberUpTo(octet, 255) || octet.size() > 3) return false;
        if ((dot == std::string_view::npos) != (part == 3)) return false;
        if (part < 3) text.remove_prefix(dot + 1);
    }
    return true;
}

// RFC 4291, 2.2: eight groups, or fewer around one "::"; the last two may be an IPv4 address.
bool isIpv6(std::string_view text) {
    auto gap = text.find("::");
    if (gap != std::string_view::npos && text.find("::", gap + 1) != std::string_view::npos)
        return false;
    int groups = 0;
    auto count = [&](std::string_view side, bool last) {
        while (!side.empty()) {
            auto colon = side.find(':');
            auto group = side.substr(0, colon);
            bool final = colon == std::string_view::npos;
            if (final && last && isIpv4(group)) {
                groups += 2;
                return true;
            }
            if (group.empty() || group.size() > 4 || !std::ranges::all_of(group, isHexDigit))
                return false;
            ++groups;
            if (final) return true;
            side.remove_prefix(colon + 1);
            if (side.empty()) return false;
        }
        return true;
    };
    if (gap == std::string_view::npos) return count(text, true) && groups == 8;
    return count(text.substr(0, gap), false) && count(text.substr(gap + 2), true) && groups < 8;
}

bool isHostName(std::string_view text) {
    if (text.empty() || text.size() > kMaxHostBytes) return false;
    for (;;) {
        auto dot = text.find('.');
        auto label = text.substr(0, dot);
        bool characters = std::ranges::all_of(label, [](char c) {
            return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                   c == '_';
        });
        if (label.empty() || label.size() > kMaxLabelBytes || !characters || label.front() == '-' ||
            label.back() == '-')
            return false;
        if (dot == std::string_view::npos) return true;
        text.remove_prefix(dot + 1);
    }
}

bool isCidr(std::string_view text) {
    auto slash = text.find('/');
    auto address = text.substr(0, slash);
    auto bits = text.substr(slash + 1);
    return (isIpv4(address) && isNumberUpTo(bits, 32)) ||
           (isIpv6(address) && isNumberUpTo(bits, 128));
}

bool isPort(std::string_view text) { return isNumberUpTo(text, 65535) && text.front() != '0'; }

}  // namespace

std::optional<std::string> normalisePath(std::string_view path) {
    if (path.empty() || path.front() != '/' || path.size() > kMaxPathBytes) return std::nullopt;
    std::string out;
    while (!path.empty()) {
        path.remove_prefix(1);
        auto slash = path.find('/');
        auto part = path.substr(0, slash);
        path.remove_prefix(std::min(slash, path.size()));
        if (part.empty() || part == ".") continue;
        bool control =
            std::ranges::any_of(part, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
        if (part == ".." || part.size() > kMaxComponentBytes || control) return std::nullopt;
        out += '/';
        out += part;
    }
    return out.empty() ? "/" : out;
}

bool readPath(Reader& reader, std::string_view key, std::string& out) {
    std::string text;
    if (!reader.string(key, text)) return false;
    auto path = normalisePath(text);
    if (!path) {
        reader.error(key, fmt::format("{} is not valid (expected an absolute path without ..)",
                                      yaml::shown(text)));
        return false;
    }
    out = *path;
    return true;
}

bool isWithin(std::string_view path, std::string_view parent) {
    if (parent == "/") return true;
    return path.starts_with(parent) && (path.size() == parent.size() || path[parent.size()] == '/');
}

std::string networkRuleProblem(std::string_view rule) {
    constexpr std::string_view kExpected = "host, *.domain, host:port or CIDR";
    auto no = [&](std::string_view hint) {
        return fmt::format("{} is not valid (expected {}{})", yaml::shown(rule), kExpected, hint);
    };
    if (rule.find("://") != std::string_view::npos) return no("; leave the scheme out");
    if (rule.find('/') != std::string_view::npos)
        return isCidr(rule) ? "" : no("; a path cannot be listed");
    std::string_view host = rule;
    if (host.starts_with('[')) {
        auto close = host.find(']');
        if (close == std::string_view::npos || !isIpv6(host.substr(1, close - 1))) return no("");
        auto rest = host.substr(close + 1);
        return rest.empty() || (rest.front() == ':' && isPort(rest.substr(1))) ? "" : no("");
    }
    if (isIpv6(host)) return "";
    if (auto colon = host.find(':'); colon != std::string_view::npos) {
        if (!isPort(host.substr(colon + 1))) return no("; a port is 1 to 65535");
        host = host.substr(0, colon);
    }
    if (host.starts_with("*.")) host.remove_prefix(2);
    return isHostName(host) ? "" : no("");
}

}  // namespace aegis::agent::detail
