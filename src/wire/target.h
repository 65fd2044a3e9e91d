#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace aegis::wire {

/// The decoded parameters of a query in their order. Any thread.
class Query {
  public:
    using Item = std::pair<std::string, std::string>;

    /// The first value of that name; nullptr if there is none ("?flag" has an empty value).
    const std::string* find(std::string_view name) const;
    std::string_view get(std::string_view name, std::string_view fallback = {}) const;
    void add(std::string name, std::string value);
    std::size_t size() const { return items_.size(); }
    auto begin() const { return items_.begin(); }
    auto end() const { return items_.end(); }

  private:
    std::vector<Item> items_;
};

struct Target {
    std::string authority;  ///< of an absolute form "http://host:port/…", else empty
    std::string path;       ///< decoded; starts with '/', has no ".", ".." or empty segment; or "*"
    Query query;
};

/// Splits and decodes a request target: origin, absolute ("http://…") or asterisk form. kInvalid
/// for malformed escapes, NUL, control characters or spaces, a path that climbs above its root, a
/// fragment.
/// "%2F" decodes to '/' before the path is normalised, so no caller sees a hidden "..".
Result<Target> parseTarget(std::string_view target);

/// Decodes %XX; with `plus_is_space` also '+'. nullopt for a malformed escape or a NUL.
std::optional<std::string> percentDecode(std::string_view text, bool plus_is_space = false);

/// Escapes everything but RFC 3986's unreserved characters (and '/' if `keep_slash`).
std::string percentEncode(std::string_view text, bool keep_slash = false);

/// "a=b&c=d" decoded, '+' as space. At most 100 parameters.
Result<Query> parseQuery(std::string_view text);

}  // namespace aegis::wire
