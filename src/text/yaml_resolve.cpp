#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <system_error>

#include "text/yaml.h"

namespace aegis::yaml {
namespace {

constexpr std::string_view kStandardTag = "tag:yaml.org,2002:";

bool isDigits(std::string_view text) {
    if (text.empty()) return false;
    for (char c : text) {
        if (c < '0' || c > '9') return false;
    }
    return true;
}

template <class T>
std::optional<T> number(std::string_view text, int base) {
    T value = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

json::Value based(std::string_view digits, int base, const std::string& whole) {
    if (auto small = number<std::int64_t>(digits, base); small && digits.front() != '-')
        return *small;
    if (auto large = number<std::uint64_t>(digits, base)) return *large;
    return json::Value(boost::json::string_view(whole));
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?    YAML 1.2.2, 10.3.2
bool looksLikeFloat(std::string_view text) {
    if (auto e = text.find_first_of("eE"); e != std::string_view::npos) {
        auto exponent = text.substr(e + 1);
        if (!exponent.empty() && (exponent[0] == '-' || exponent[0] == '+'))
            exponent.remove_prefix(1);
        if (!isDigits(exponent)) return false;
        text = text.substr(0, e);
    }
    auto dot = text.find('.');
    if (dot == std::string_view::npos) return isDigits(text);
    auto whole = text.substr(0, dot);
    auto fraction = text.substr(dot + 1);
    return (isDigits(whole) && (fraction.empty() || isDigits(fraction))) ||
           (whole.empty() && isDigits(fraction));
}

// from_chars knows neither a leading '+' nor overflow to infinity.
double toDouble(std::string_view unsigned_text, bool negative) {
    double value = 0;
    auto [end, ec] =
        std::from_chars(unsigned_text.data(), unsigned_text.data() + unsigned_text.size(), value);
    // Out of range: underflow has a negative exponent, everything else is too large.
    if (ec == std::errc::result_out_of_range) {
        bool tiny = unsigned_text.find("e-") != std::string_view::npos ||
                    unsigned_text.find("E-") != std::string_view::npos;
        value = tiny ? 0 : std::numeric_limits<double>::infinity();
    }
    if (value == 0) return 0;  // JSON text has no use for a negative zero
    return negative ? -value : value;
}

std::optional<json::Value> resolveNumber(const std::string& text) {
    if (text.empty()) return std::nullopt;
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
        auto value = based(std::string_view(text).substr(2), text[1] == 'o' ? 8 : 16, text);
        if (value.is_string()) return std::nullopt;
        return value;
    }
    std::string_view body = text;
    bool negative = body[0] == '-';
    if (negative || body[0] == '+') body.remove_prefix(1);
    if (isDigits(body)) {
        if (auto value = number<std::int64_t>(negative ? std::string_view(text) : body, 10))
            return json::Value(*value);
        if (auto value = number<std::uint64_t>(body, 10); value && !negative)
            return json::Value(*value);
        return json::Value(toDouble(body, negative));
    }
    if (looksLikeFloat(body)) return json::Value(toDouble(body, negative));
    if (body == ".inf" || body == ".Inf" || body == ".INF") {
        double infinity = std::numeric_limits<double>::infinity();
        return json::Value(negative ? -infinity : infinity);
    }
    if (text == ".nan" || text == ".NaN" || text == ".NAN")
        return json::Value(std::numeric_limits<double>::quiet_NaN());
    return std::nullopt;
}

json::Value asString(const Node& node) {
    return json::Value(boost::json::string_view(node.scalar));
}

bool spellsNull(const std::string& text) {
    return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

Error notJson(const Node& node) {
    Error error(ErrorCode::kInvalid, "a number that JSON lacks: " + node.scalar);
    error.details.push_back({"", "", node.line, node.column, error.message});
    return error;
}

}  // namespace

bool Node::isNull() const {
    if (kind != Kind::kScalar) return false;
    if (!tag.empty()) return tag == std::string(kStandardTag) + "null";
    return style == Style::kPlain && spellsNull(scalar);
}

json::Value resolve(const Node& scalar) {
    if (scalar.tag.empty() ? scalar.style != Node::Style::kPlain
                           : scalar.tag == "!" || scalar.tag == "tag:yaml.org,2002:str")
        return asString(scalar);
    const std::string& text = scalar.scalar;
    if (spellsNull(text)) return nullptr;
    if (text == "true" || text == "True" || text == "TRUE") return true;
    if (text == "false" || text == "False" || text == "FALSE") return false;
    if (auto value = resolveNumber(text)) return *value;
    return asString(scalar);
}

Result<json::Value> toJson(const Node& node) {
    if (node.isScalar()) {
        json::Value value = resolve(node);
        if (value.is_double() && !std::isfinite(value.get_double())) return notJson(node);
        return value;
    }
    if (node.isSequence()) {
        json::Array array;
        array.reserve(node.items.size());
        for (const Node& item : node.items) {
            AEGIS_TRY(json::Value value, toJson(item));
            array.push_back(std::move(value));
        }
        return json::Value(std::move(array));
    }
    json::Object object;
    object.reserve(node.entries.size());
    for (const Entry& entry : node.entries) {
        AEGIS_TRY(json::Value value, toJson(entry.value));
        object.emplace(entry.key, std::move(value));
    }
    return json::Value(std::move(object));
}

Node fromJson(const json::Value& value) {
    Node node;
    if (const auto* object = value.if_object()) {
        node.kind = Node::Kind::kMapping;
        for (const auto& [key, member] : *object)
            node.entries.push_back({std::string(key.data(), key.size()), 0, 0, fromJson(member)});
    } else if (const auto* array = value.if_array()) {
        node.kind = Node::Kind::kSequence;
        for (const auto& element : *array)
            node.items.push_back(fromJson(element));
    } else if (const auto* string = value.if_string()) {
        node.style = Node::Style::kQuoted;
        node.scalar = json::view(*string);
    } else {
        node.scalar = json::dump(value);
    }
    return node;
}

std::string_view describe(const Node& node) {
    if (node.isMapping()) return "a mapping";
    if (node.isSequence()) return "a list";
    json::Value value = resolve(node);
    if (value.is_null()) return "null";
    if (value.is_bool()) return "a boolean";
    return value.is_number() ? "a number" : "text";
}

}  // namespace aegis::yaml
