#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace aegis::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

struct ParseOptions {
    std::size_t max_depth = 64;
    bool allow_duplicate_keys = false;
};

/// Parses one strict RFC 8259 document. The error's detail holds line and column (1-based; columns
/// count bytes) of the first problem. Key order is kept. Duplicate keys are errors unless allowed
/// (the last wins then). Numbers: int64, uint64 or double.
Result<Value> parse(std::string_view text, ParseOptions options = {});

/// Compact JSON text: keys in order, non-ASCII as UTF-8 (ill-formed bytes as U+FFFD), numbers in
/// their shortest exact form (1.1, 10, 1e+300; like ECMAScript, an exponent below 1e-6 and from
/// 1e21 on). NaN and infinities, which JSON lacks, print as null.
std::string dump(const Value& value);

/// The same, indented by two spaces, with no newline at the end.
std::string dumpPretty(const Value& value);

/// One JSON number in its shortest exact form.
std::string dumpNumber(double number);

/// The JSON string literal for `text`, with quotes. Bytes that are not UTF-8 become U+FFFD.
std::string quote(std::string_view text);

/// Members by name; nullptr if `value` is no object or lacks the key.
const Value* find(const Value& value, std::string_view key);
/// Not for temporaries (an Object on its way to becoming a Value is one): the answer would dangle.
const Value* find(Value&& value, std::string_view key) = delete;

/// A string member's text, or `fallback` if it is missing or no string. Lives as long as `value`.
std::string_view getString(const Value& value, std::string_view key,
                           std::string_view fallback = {});
std::string_view getString(Value&& value, std::string_view key,
                           std::string_view fallback = {}) = delete;

/// An integer member (a double with an integral value counts), or `fallback`.
std::int64_t getInt(const Value& value, std::string_view key, std::int64_t fallback = 0);

bool getBool(const Value& value, std::string_view key, bool fallback = false);

/// Text of a boost::json::string as a std::string_view.
inline std::string_view view(const boost::json::string& s) { return {s.data(), s.size()}; }

/// The length of the well-formed UTF-8 sequence at `at` (Unicode 15, table 3-7), 0 if ill-formed.
std::size_t utf8Length(std::string_view text, std::size_t at);

/// Whether `text` is well-formed UTF-8 (no surrogates, no overlong forms).
bool isUtf8(std::string_view text);

/// `text` with each ill-formed byte replaced by U+FFFD.
std::string toUtf8(std::string_view text);

}  // namespace aegis::json
