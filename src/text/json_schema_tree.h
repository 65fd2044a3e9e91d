#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/json.h"
#include "text/regex.h"

// The inside of text/json_schema.h: what a schema compiles to. Not for other rooms.
namespace aegis::text {

using SchemaIndex = int;
inline constexpr SchemaIndex kNoSchema = -1;

/// The value as text with sorted keys and numbers by value (1 and 1.0 alike): equal texts, equal
/// values.
std::string canonicalJson(const json::Value& value);

/// `part` as one step of a JSON pointer (RFC 6901, section 3).
std::string escapePointer(std::string_view part);

/// Whether `text` has the format; nullptr for a format that is not asserted.
using FormatCheck = bool (*)(std::string_view text);
FormatCheck findFormat(std::string_view name);

/// Resolves `reference` against `base` (RFC 3986, section 5.2); neither has a fragment.
std::string resolveUri(std::string_view base, std::string_view reference);

enum TypeBit : unsigned {
    kNullType = 1,
    kBooleanType = 2,
    kIntegerType = 4,
    kNumberType = 8,
    kStringType = 16,
    kArrayType = 32,
    kObjectType = 64,
};

struct SchemaNode {
    bool always_false = false;
    unsigned types = 0;  // of TypeBit; 0: any
    std::string types_text;
    SchemaIndex ref = kNoSchema;

    std::optional<std::set<std::string>> choices;  // canonical
    std::string choices_text;

    std::optional<json::Value> minimum, maximum, exclusive_minimum, exclusive_maximum, multiple_of;

    std::optional<std::uint64_t> min_length, max_length;
    std::optional<Regex> pattern;
    FormatCheck format = nullptr;
    std::string format_name;

    std::optional<std::uint64_t> min_items, max_items, min_contains, max_contains;
    bool unique_items = false;
    std::vector<SchemaIndex> prefix_items;
    SchemaIndex items = kNoSchema;  // those after prefix_items
    SchemaIndex contains = kNoSchema;

    std::optional<std::uint64_t> min_properties, max_properties;
    std::vector<std::string> required;
    std::map<std::string, SchemaIndex, std::less<>> properties;
    std::vector<std::pair<Regex, SchemaIndex>> pattern_properties;
    SchemaIndex additional_properties = kNoSchema;
    SchemaIndex property_names = kNoSchema;
    std::vector<std::pair<std::string, std::vector<std::string>>> dependent_required;
    std::vector<std::pair<std::string, SchemaIndex>> dependent_schemas;

    std::vector<SchemaIndex> all_of, any_of, one_of;
    SchemaIndex not_schema = kNoSchema;
    SchemaIndex if_schema = kNoSchema, then_schema = kNoSchema, else_schema = kNoSchema;
};

struct CompiledSchema {
    std::vector<SchemaNode> nodes;
    SchemaIndex root = kNoSchema;
};

}  // namespace aegis::text
