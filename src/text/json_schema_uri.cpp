#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "text/json_schema_tree.h"

namespace aegis::text {
namespace {

struct Uri {
    std::string_view scheme, authority, path, query;
    bool has_authority = false, has_query = false;
};

// RFC 3986, appendix B.
Uri splitUri(std::string_view s) {
    Uri uri;
    std::size_t colon = s.find_first_of(":/?");
    if (colon != s.npos && colon > 0 && s[colon] == ':') {
        uri.scheme = s.substr(0, colon);
        s.remove_prefix(colon + 1);
    }
    if (s.starts_with("//")) {
        std::size_t end = std::min(s.find_first_of("/?", 2), s.size());
        uri.authority = s.substr(2, end - 2);
        uri.has_authority = true;
        s.remove_prefix(end);
    }
    std::size_t question = s.find('?');
    uri.path = s.substr(0, question);
    uri.has_query = question != s.npos;
    if (uri.has_query) uri.query = s.substr(question + 1);
    return uri;
}

std::string removeDots(std::string_view path) {
    std::vector<std::string_view> kept;
    bool rooted = path.starts_with('/');
    bool slash_at_end = false;
    for (std::size_t at = rooted ? 1 : 0; at <= path.size();) {
        std::size_t end = std::min(path.find('/', at), path.size());
        std::string_view part = path.substr(at, end - at);
        slash_at_end = part == "." || part == "..";
        if (part == ".." && !kept.empty()) kept.pop_back();
        if (!slash_at_end) kept.push_back(part);
        at = end + 1;
    }
    return (rooted ? "/" : "") + fmt::format("{}", fmt::join(kept, "/")) +
           (slash_at_end && !kept.empty() ? "/" : "");
}

}  // namespace

std::string resolveUri(std::string_view base, std::string_view reference) {
    Uri b = splitUri(base);
    Uri r = splitUri(reference);
    Uri out = r;
    std::string path(r.path);
    if (r.scheme.empty()) {
        out.scheme = b.scheme;
        if (!r.has_authority) {
            out.authority = b.authority;
            out.has_authority = b.has_authority;
            if (r.path.empty()) {
                path = b.path;
                if (!r.has_query) {
                    out.query = b.query;
                    out.has_query = b.has_query;
                }
            } else if (!r.path.starts_with('/')) {
                std::size_t slash = b.path.rfind('/');
                path = slash == b.path.npos ? (b.has_authority ? "/" : "")
                                            : std::string(b.path.substr(0, slash + 1));
                path += r.path;
            }
        }
    }
    if (path.starts_with('/')) path = removeDots(path);
    std::string text;
    if (!out.scheme.empty()) text += fmt::format("{}:", out.scheme);
    if (out.has_authority) text += fmt::format("//{}", out.authority);
    text += path;
    if (out.has_query) text += fmt::format("?{}", out.query);
    return text;
}

}  // namespace aegis::text
