#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/json.h"

/// YAML 1.2 (core schema) with positions, in bounded time and memory. JSON is a subset. Pure, any
/// thread.
namespace aegis::yaml {

struct Entry;

/// One node of a document; aliases are expanded. Lines and columns are 1-based, columns count
/// characters; 0 means unknown (made by fromJson).
struct Node {
    enum class Kind : std::uint8_t { kScalar, kSequence, kMapping };
    enum class Style : std::uint8_t { kPlain, kQuoted, kLiteral, kFolded };

    Kind kind = Kind::kScalar;
    Style style = Style::kPlain;  ///< of a scalar
    int line = 0;
    int column = 0;
    std::string tag;             ///< "tag:yaml.org,2002:str", "!" or empty
    std::string scalar;          ///< the text, unfolded and unescaped
    std::vector<Node> items;     ///< of a sequence
    std::vector<Entry> entries;  ///< of a mapping, in order, keys unique

    bool isScalar() const { return kind == Kind::kScalar; }
    bool isSequence() const { return kind == Kind::kSequence; }
    bool isMapping() const { return kind == Kind::kMapping; }
    /// A plain scalar that spells null: "", "~", "null"...
    bool isNull() const;
    /// The value of a mapping's key; nullptr without it, or if this is no mapping.
    const Node* find(std::string_view key) const;
};

struct Entry {
    std::string key;
    int line = 0;
    int column = 0;
    Node value;
};

struct Document {
    Node root;
    /// Its bytes in the text: from the start, or its "---", to the next document's "---" or the
    /// end.
    std::size_t begin = 0;
    std::size_t end = 0;
};

struct Options {
    std::size_t max_bytes = 1 << 20;
    int max_depth = 64;               ///< nested collections
    std::size_t max_nodes = 100'000;  ///< of all documents together, aliases expanded
};

/// Every document of `text`; none for an empty text or one of comments. Errors are kInvalid with
/// one detail that has line and column (kTooLarge beyond max_bytes): ill-formed UTF-8 or YAML,
/// duplicate keys, keys that are no scalars, merge keys, unknown tags, undefined aliases, aliases
/// inside what they name, too deep, too many nodes.
Result<std::vector<Document>> parse(std::string_view text, const Options& options = {});

/// A scalar's value under the core schema and its tag: null, bool, int64, uint64, double or string.
/// What is plain and looks like no other type is a string; integers beyond 64 bits become doubles.
json::Value resolve(const Node& scalar);

/// The whole tree. kInvalid with a detail for infinities and NaN, which JSON lacks.
Result<json::Value> toJson(const Node& node);

/// The inverse; positions are 0, strings are quoted scalars. `value` must not be deeper than 64.
Node fromJson(const json::Value& value);

/// "a mapping", "a list", "null", "a boolean", "a number" or "text".
std::string_view describe(const Node& node);

}  // namespace aegis::yaml
