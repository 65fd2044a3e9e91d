#include "wire/target.h"

#include <algorithm>

namespace aegis::wire {
namespace {

constexpr std::size_t kMaxParameters = 100;

int hexValue(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool isUnreserved(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

Result<std::string> normalisePath(std::string_view decoded) {
    std::vector<std::string_view> segments;
    while (!decoded.empty()) {
        auto slash = decoded.find('/');
        auto segment = decoded.substr(0, slash);
        decoded.remove_prefix(slash == std::string_view::npos ? decoded.size() : slash + 1);
        if (segment.empty() || segment == ".") continue;
        if (segment != "..") {
            segments.push_back(segment);
        } else if (segments.empty()) {
            return {ErrorCode::kInvalid, "the path climbs above its root"};
        } else {
            segments.pop_back();
        }
    }
    std::string path;
    for (auto segment : segments)
        path.append("/").append(segment);
    return path.empty() ? "/" : path;
}

/// Takes "http://authority" off the front of an absolute form.
Status takeAuthority(std::string_view& rest, std::string& authority) {
    constexpr std::string_view kScheme = "http://";
    if (!rest.starts_with(kScheme)) return {ErrorCode::kInvalid, "malformed request target"};
    rest.remove_prefix(kScheme.size());
    auto end = std::min(rest.find_first_of("/?"), rest.size());
    authority = rest.substr(0, end);
    if (authority.empty() || authority.find('@') != std::string::npos)
        return {ErrorCode::kInvalid, "malformed authority in the request target"};
    rest.remove_prefix(end);
    return {};
}

}  // namespace

const std::string* Query::find(std::string_view name) const {
    for (const auto& item : items_)
        if (item.first == name) return &item.second;
    return nullptr;
}

std::string_view Query::get(std::string_view name, std::string_view fallback) const {
    const auto* value = find(name);
    return value != nullptr ? std::string_view(*value) : fallback;
}

void Query::add(std::string name, std::string value) {
    items_.emplace_back(std::move(name), std::move(value));
}

std::optional<std::string> percentDecode(std::string_view text, bool plus_is_space) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            if (i + 2 >= text.size()) return std::nullopt;
            int high = hexValue(text[i + 1]);
            int low = hexValue(text[i + 2]);
            if (high < 0 || low < 0) return std::nullopt;
            c = static_cast<char>(high * 16 + low);
            i += 2;
        } else if (plus_is_space && c == '+') {
            c = ' ';
        }
        if (c == '\0') return std::nullopt;
        out.push_back(c);
    }
    return out;
}

std::string percentEncode(std::string_view text, bool keep_slash) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (char c : text) {
        if (isUnreserved(c) || (keep_slash && c == '/')) {
            out.push_back(c);
            continue;
        }
        auto byte = static_cast<unsigned char>(c);
        out.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
    return out;
}

Result<Query> parseQuery(std::string_view text) {
    Query query;
    while (!text.empty()) {
        auto amp = text.find('&');
        auto item = text.substr(0, amp);
        text.remove_prefix(amp == std::string_view::npos ? text.size() : amp + 1);
        if (item.empty()) continue;
        if (query.size() >= kMaxParameters)
            return {ErrorCode::kInvalid, "too many query parameters"};
        auto equals = item.find('=');
        auto name = percentDecode(item.substr(0, equals), true);
        auto value = percentDecode(
            equals == std::string_view::npos ? std::string_view{} : item.substr(equals + 1), true);
        if (!name || !value) return {ErrorCode::kInvalid, "malformed escape in the query"};
        query.add(std::move(*name), std::move(*value));
    }
    return query;
}

Result<Target> parseTarget(std::string_view target) {
    Target out;
    auto forbidden = [](char c) {
        auto byte = static_cast<unsigned char>(c);
        return byte <= 0x20 || byte == 0x7f || c == '#';
    };
    if (target.empty() || std::ranges::any_of(target, forbidden))
        return {ErrorCode::kInvalid, "malformed request target"};
    if (target == "*") {
        out.path = "*";
        return out;
    }
    if (target[0] != '/') AEGIS_CHECK(takeAuthority(target, out.authority));
    auto mark = target.find('?');
    auto decoded = percentDecode(target.substr(0, mark));
    if (!decoded) return {ErrorCode::kInvalid, "malformed escape in the path"};
    AEGIS_TRY(out.path, normalisePath(*decoded));
    if (mark == std::string_view::npos) return out;
    AEGIS_TRY(out.query, parseQuery(target.substr(mark + 1)));
    return out;
}

}  // namespace aegis::wire
