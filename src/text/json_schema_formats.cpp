#include <algorithm>
#include <array>
#include <optional>

#include "text/json_schema_tree.h"

namespace aegis::text {
namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool isHex(char c) { return isDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Takes `n` digits off the front.
std::optional<int> digits(std::string_view& s, std::size_t n) {
    if (s.size() < n || !std::ranges::all_of(s.substr(0, n), isDigit)) return std::nullopt;
    int value = 0;
    for (char c : s.substr(0, n))
        value = value * 10 + (c - '0');
    s.remove_prefix(n);
    return value;
}

bool take(std::string_view& s, char c) {
    if (!s.starts_with(c)) return false;
    s.remove_prefix(1);
    return true;
}

// RFC 3339, section 5.6.
bool takeDate(std::string_view& s) {
    constexpr std::array kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    auto year = digits(s, 4);
    if (!year || !take(s, '-')) return false;
    auto month = digits(s, 2);
    if (!month || *month < 1 || *month > 12 || !take(s, '-')) return false;
    auto day = digits(s, 2);
    bool leap = (*year % 4 == 0 && *year % 100 != 0) || *year % 400 == 0;
    int days = kDays[static_cast<std::size_t>(*month - 1)] + (*month == 2 && leap ? 1 : 0);
    return day && *day >= 1 && *day <= days;
}

bool takeTime(std::string_view& s) {
    auto hour = digits(s, 2);
    if (!hour || *hour > 23 || !take(s, ':')) return false;
    auto minute = digits(s, 2);
    if (!minute || *minute > 59 || !take(s, ':')) return false;
    auto second = digits(s, 2);
    if (!second || *second > 60) return false;
    if (take(s, '.')) {
        if (s.empty() || !isDigit(s[0])) return false;
        while (!s.empty() && isDigit(s[0]))
            s.remove_prefix(1);
    }
    int offset = 0;
    if (!take(s, 'Z') && !take(s, 'z')) {
        int sign = take(s, '+') ? 1 : take(s, '-') ? -1 : 0;
        auto hours = digits(s, 2);
        if (sign == 0 || !hours || *hours > 23 || !take(s, ':')) return false;
        auto minutes = digits(s, 2);
        if (!minutes || *minutes > 59) return false;
        offset = sign * (*hours * 60 + *minutes);
    }
    // A leap second is the last of a day in UTC.
    int utc = ((*hour * 60 + *minute - offset) % 1440 + 1440) % 1440;
    return *second < 60 || utc == 1439;
}

bool isDate(std::string_view s) { return takeDate(s) && s.empty(); }
bool isTime(std::string_view s) { return takeTime(s) && s.empty(); }
bool isDateTime(std::string_view s) {
    return takeDate(s) && (take(s, 'T') || take(s, 't')) && takeTime(s) && s.empty();
}

bool isIpv4(std::string_view s) {
    for (int i = 0; i < 4; ++i) {
        if (i > 0 && !take(s, '.')) return false;
        std::size_t n = 0;
        while (n < s.size() && n < 3 && isDigit(s[n]))
            ++n;
        if (n == 0 || (n > 1 && s[0] == '0') || *digits(s, n) > 255) return false;
    }
    return s.empty();
}

// RFC 4291, section 2.2, without a zone.
bool isIpv6(std::string_view s) {
    int groups = 0;
    bool gap = false;
    if (s.starts_with("::")) {
        gap = true;
        s.remove_prefix(2);
    }
    while (!s.empty()) {
        if (s.contains('.') && !s.contains(':')) {
            if (!isIpv4(s)) return false;
            groups += 2;
            break;
        }
        std::size_t n = 0;
        while (n < s.size() && isHex(s[n]))
            ++n;
        if (n == 0 || n > 4) return false;
        ++groups;
        s.remove_prefix(n);
        if (s.empty()) break;
        if (!take(s, ':') || s.empty()) return false;
        if (!take(s, ':')) continue;
        if (gap) return false;
        gap = true;
    }
    return gap ? groups < 8 : groups == 8;
}

// RFC 1123, section 2.1.
bool isHostname(std::string_view s) {
    if (s.empty() || s.size() > 253) return false;
    while (true) {
        std::string_view label = s.substr(0, s.find('.'));
        bool good = !label.empty() && label.size() <= 63 && label.front() != '-' &&
                    label.back() != '-' && std::ranges::all_of(label, [](char c) {
                        return isLetter(c) || isDigit(c) || c == '-';
                    });
        if (!good) return false;
        if (label.size() == s.size()) return true;
        s.remove_prefix(label.size() + 1);
    }
}

// RFC 5321, section 4.1.2, less quoted local parts.
bool isEmail(std::string_view s) {
    std::size_t at = s.rfind('@');
    if (at == s.npos || at == 0 || at > 64) return false;
    std::string_view local = s.substr(0, at);
    std::string_view domain = s.substr(at + 1);
    bool atoms = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..") &&
                 std::ranges::all_of(local, [](char c) {
                     return isLetter(c) || isDigit(c) ||
                            std::string_view(".!#$%&'*+/=?^_`{|}~-").contains(c);
                 });
    if (!atoms) return false;
    if (!domain.starts_with('[') || !domain.ends_with(']')) return isHostname(domain);
    domain = domain.substr(1, domain.size() - 2);
    return domain.starts_with("IPv6:") ? isIpv6(domain.substr(5)) : isIpv4(domain);
}

// RFC 3986: a scheme, then only characters that a URI may hold.
bool isUri(std::string_view s) {
    std::size_t colon = s.find(':');
    if (colon == s.npos || colon == 0 || !isLetter(s[0])) return false;
    auto in_scheme = [](char c) {
        return isLetter(c) || isDigit(c) || c == '+' || c == '-' || c == '.';
    };
    if (!std::ranges::all_of(s.substr(0, colon), in_scheme)) return false;
    std::string_view rest = s.substr(colon + 1);
    if (std::ranges::count(rest, '#') > 1) return false;
    for (std::size_t i = 0; i < rest.size(); ++i) {
        char c = rest[i];
        if (c == '%' && !(i + 2 < rest.size() && isHex(rest[i + 1]) && isHex(rest[i + 2])))
            return false;
        if (!isLetter(c) && !isDigit(c) && !std::string_view("-._~:/?#[]@!$&'()*+,;=%").contains(c))
            return false;
    }
    if (!rest.starts_with("//")) return !rest.contains('[') && !rest.contains(']');
    std::string_view authority = rest.substr(2, rest.find_first_of("/?#", 2) - 2);
    std::string_view after = rest.substr(2 + authority.size());
    if (after.contains('[') || after.contains(']')) return false;
    std::string_view host = authority.substr(authority.rfind('@') + 1);
    if (authority.contains('@') &&
        authority.substr(0, authority.rfind('@')).find_first_of("[]@") != s.npos)
        return false;
    if (host.starts_with('[')) {
        std::size_t close = host.find(']');
        if (close == host.npos || !isIpv6(host.substr(1, close - 1))) return false;
        host.remove_prefix(close + 1);
        if (!host.empty() && !host.starts_with(':')) return false;
    }
    std::size_t port = host.find(':');
    if (host.find_first_of("[]") != host.npos) return false;
    return port == host.npos || std::ranges::all_of(host.substr(port + 1), isDigit);
}

bool isUuid(std::string_view s) {
    if (s.size() != 36) return false;
    for (std::size_t i = 0; i < s.size(); ++i) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !isHex(s[i])) return false;
    }
    return true;
}

bool isRegex(std::string_view s) { return Regex::compileEcma(s).has_value(); }

}  // namespace

FormatCheck findFormat(std::string_view name) {
    constexpr std::pair<std::string_view, FormatCheck> kFormats[] = {
        {"date-time", isDateTime}, {"date", isDate},         {"time", isTime}, {"email", isEmail},
        {"ipv4", isIpv4},          {"ipv6", isIpv6},         {"uri", isUri},   {"uuid", isUuid},
        {"regex", isRegex},        {"hostname", isHostname},
    };
    for (auto [known, check] : kFormats) {
        if (name == known) return check;
    }
    return nullptr;
}

}  // namespace aegis::text
