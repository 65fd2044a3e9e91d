#include "text/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unordered_map>
#include <utility>

#include "text/escape.h"
#include "text/json_schema_tree.h"

namespace aegis::text {
namespace {

using json::Value;

constexpr std::size_t kShownBytes = 120;
constexpr std::size_t kShownReasonBytes = 500;
constexpr std::size_t kShownAlternatives = 4;

__extension__ using Uint128 = unsigned __int128;

// A number as digits * 10^exponent.
struct Decimal {
    Uint128 digits = 0;
    int exponent = 0;
};

// Of the shortest text that denotes the number: 0.0075 is 75 * 10^-4, which no double is exactly.
Decimal decimalOf(const Value& value) {
    std::string text;
    if (!value.is_double()) {
        text = json::dump(value);
    } else {
        std::array<char, 40> buffer{};
        auto [end, ec] = std::to_chars(buffer.data(), buffer.data() + buffer.size(),
                                       value.get_double(), std::chars_format::scientific);
        text.assign(buffer.data(), end);
    }
    Decimal out;
    bool fraction = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '.') fraction = true;
        if (c == 'e') {
            out.exponent += std::atoi(text.c_str() + i + 1);
            break;
        }
        if (c < '0' || c > '9') continue;
        out.digits = out.digits * 10 + static_cast<unsigned>(c - '0');
        if (fraction) --out.exponent;
    }
    return out;
}

bool isMultiple(const Value& value, const Value& of) {
    Decimal a = decimalOf(value);
    Decimal b = decimalOf(of);
    if (a.digits == 0) return true;
    if (b.digits == 0) return false;
    // Both digits are below 2^64, so each product fits.
    if (a.exponent >= b.exponent) {
        Uint128 rest = a.digits % b.digits;
        for (int i = a.exponent - b.exponent; i > 0 && rest != 0; --i)
            rest = rest * 10 % b.digits;
        return rest == 0;
    }
    for (int i = b.exponent - a.exponent; i > 0; --i) {
        if (a.digits % 10 != 0) return false;
        a.digits /= 10;
    }
    return a.digits % b.digits == 0;
}

// Exact for every 64-bit integer and every double where long double has 64 bits of mantissa.
long double numberOf(const Value& value) {
    if (value.is_int64()) return static_cast<long double>(value.get_int64());
    if (value.is_uint64()) return static_cast<long double>(value.get_uint64());
    return value.get_double();
}

unsigned typeBits(const Value& value) {
    switch (value.kind()) {
        case boost::json::kind::null:
            return kNullType;
        case boost::json::kind::bool_:
            return kBooleanType;
        case boost::json::kind::int64:
        case boost::json::kind::uint64:
            return kIntegerType;
        case boost::json::kind::double_:
            return std::trunc(value.get_double()) == value.get_double() ? kIntegerType
                                                                        : kNumberType;
        case boost::json::kind::string:
            return kStringType;
        case boost::json::kind::array:
            return kArrayType;
        case boost::json::kind::object:
            return kObjectType;
    }
    return 0;
}

std::string_view typeName(const Value& value) {
    switch (typeBits(value)) {
        case kNullType:
            return "null";
        case kBooleanType:
            return "boolean";
        case kIntegerType:
            return "integer";
        case kNumberType:
            return "number";
        case kStringType:
            return "string";
        case kArrayType:
            return "array";
        default:
            return "object";
    }
}

std::string shown(std::string_view text) { return shorten(text, kShownBytes); }
std::string shown(const Value& value) { return shorten(json::dump(value), kShownBytes); }

// A place in the instance, as a chain up to its root.
struct Where {
    const Where* parent = nullptr;
    std::string_view name;
    std::size_t index = 0;
    bool is_index = false;

    std::string pointer() const {
        if (parent == nullptr) return "/";
        std::string above = parent->parent == nullptr ? "" : parent->pointer();
        if (is_index) return fmt::format("{}/{}", above, index);
        return above + "/" + escapePointer(shown(name));
    }
};

class Validator {
  public:
    Validator(const CompiledSchema& schema, SchemaLimits limits)
        : schema_(schema), limits_(limits), enough_(limits.max_violations) {}

    std::vector<SchemaViolation> run(const Value& instance) {
        std::vector<SchemaViolation> found;
        found_ = &found;
        check(schema_.root, instance, Where{});
        if (!given_up_.empty()) return {{"/", given_up_}};
        if (found.size() >= limits_.max_violations)
            found.push_back({"/", "further violations are not listed"});
        return found;
    }

  private:
    const SchemaNode& node(SchemaIndex index) const {
        return schema_.nodes[static_cast<std::size_t>(index)];
    }

    bool done() const { return !given_up_.empty() || found_->size() >= enough_; }

    bool spend(std::size_t steps) {
        if (steps > limits_.max_steps - steps_) {
            given_up_ =
                fmt::format("cannot be checked: it takes more than {} steps", limits_.max_steps);
            return false;
        }
        steps_ += steps;
        return true;
    }

    // Most of what is asked inside anyOf, not or contains is asked for yes or no: no text is made
    // then.
    template <class Message>
    void add(const Where& where, Message&& message) {
        if (done()) return;
        found_->push_back(silent_ ? SchemaViolation{}
                                  : SchemaViolation{where.pointer(), message()});
    }

    // The first reason why the schema does not hold, or nothing; without its text if `silent`.
    std::vector<SchemaViolation> refusal(SchemaIndex index, const Value& value, const Where& where,
                                         bool silent) {
        std::vector<SchemaViolation> reasons;
        auto* found = std::exchange(found_, &reasons);
        auto enough = std::exchange(enough_, 1);
        auto was_silent = std::exchange(silent_, silent || silent_);
        check(index, value, where);
        found_ = found;
        enough_ = enough;
        silent_ = was_silent;
        return reasons;
    }

    bool holds(SchemaIndex index, const Value& value, const Where& where) {
        return refusal(index, value, where, true).empty();
    }

    // Why none of the alternatives holds, for the reader who has to mend it.
    std::string refusals(const std::vector<SchemaIndex>& alternatives, const Value& value,
                         const Where& where) {
        std::string out;
        for (std::size_t i = 0; i < std::min(alternatives.size(), kShownAlternatives); ++i) {
            for (const auto& reason : refusal(alternatives[i], value, where, false))
                out += (out.empty() ? "" : "; ") + shorten(reason.str(), kShownReasonBytes);
        }
        return out + (alternatives.size() > kShownAlternatives ? "; ..." : "");
    }

    void check(SchemaIndex index, const Value& value, const Where& where) {
        if (index == kNoSchema || done() || !spend(1)) return;
        if (depth_ >= limits_.max_depth) {
            given_up_ =
                fmt::format("cannot be checked: schemas apply inside one another deeper than {}",
                            limits_.max_depth);
            return;
        }
        ++depth_;
        const SchemaNode& n = node(index);
        if (n.always_false) {
            add(where, [&] { return std::string("is not allowed"); });
        } else {
            check(n.ref, value, where);
            checkAny(n, value, where);
            if (value.is_number()) checkNumber(n, value, where);
            if (const auto* text = value.if_string()) checkString(n, json::view(*text), where);
            if (const auto* array = value.if_array()) checkArray(n, *array, where);
            if (const auto* object = value.if_object()) checkObject(n, *object, where);
            checkLogic(n, value, where);
        }
        --depth_;
    }

    void checkAny(const SchemaNode& n, const Value& value, const Where& where) {
        if (n.types != 0 && (n.types & typeBits(value)) == 0)
            return add(where, [&] {
                return fmt::format("expected {}, got {}", n.types_text, typeName(value));
            });
        if (!n.choices) return;
        std::string canonical = canonicalJson(value);
        if (!spend(canonical.size() / 16)) return;
        if (!n.choices->contains(canonical))
            add(where,
                [&] { return fmt::format("expected {}, got {}", n.choices_text, shown(value)); });
    }

    void checkNumber(const SchemaNode& n, const Value& value, const Where& where) {
        auto refuse = [&](std::string_view relation, const Value& limit) {
            add(where,
                [&] { return fmt::format("{} {} {}", shown(value), relation, json::dump(limit)); });
        };
        long double number = numberOf(value);
        if (n.minimum && number < numberOf(*n.minimum))
            refuse("is less than the minimum", *n.minimum);
        if (n.maximum && number > numberOf(*n.maximum))
            refuse("is greater than the maximum", *n.maximum);
        if (n.exclusive_minimum && number <= numberOf(*n.exclusive_minimum))
            refuse("is not greater than", *n.exclusive_minimum);
        if (n.exclusive_maximum && number >= numberOf(*n.exclusive_maximum))
            refuse("is not less than", *n.exclusive_maximum);
        if (n.multiple_of && !isMultiple(value, *n.multiple_of))
            refuse("is not a multiple of", *n.multiple_of);
    }

    void checkCount(const Where& where, std::size_t size, const std::optional<std::uint64_t>& least,
                    const std::optional<std::uint64_t>& most, std::string_view what) {
        if (least && size < *least)
            add(where,
                [&] { return fmt::format("has {} {}, expected at least {}", size, what, *least); });
        if (most && size > *most)
            add(where,
                [&] { return fmt::format("has {} {}, expected at most {}", size, what, *most); });
    }

    void checkString(const SchemaNode& n, std::string_view text, const Where& where) {
        if (n.min_length || n.max_length) {
            if (!spend(text.size() / 64)) return;
            auto size = std::ranges::count_if(
                text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
            checkCount(where, static_cast<std::size_t>(size), n.min_length, n.max_length,
                       "characters");
        }
        if (n.pattern && !matches(*n.pattern, text))
            add(where, [&] {
                return fmt::format("{} does not match the pattern '{}'", json::quote(shown(text)),
                                   shown(n.pattern->pattern()));
            });
        if (n.format != nullptr && spend(text.size() / 4) && !n.format(text))
            add(where, [&] {
                return fmt::format("{} is no {}", json::quote(shown(text)), n.format_name);
            });
    }

    bool matches(const Regex& regex, std::string_view text) {
        return spend(1 + text.size() / 4) && regex.search(text);
    }

    void checkArray(const SchemaNode& n, const json::Array& array, const Where& where) {
        checkCount(where, array.size(), n.min_items, n.max_items, "items");
        if (n.unique_items) checkUnique(array, where);
        bool no_more = n.items != kNoSchema && node(n.items).always_false;
        if (no_more && array.size() > n.prefix_items.size())
            add(where, [&] {
                return fmt::format("has {} items, expected at most {}", array.size(),
                                   n.prefix_items.size());
            });
        for (std::size_t i = 0; i < array.size() && !done(); ++i) {
            bool listed = i < n.prefix_items.size();
            if (!listed && (n.items == kNoSchema || no_more)) break;
            check(listed ? n.prefix_items[i] : n.items, array[i], {&where, {}, i, true});
        }
        if (n.contains == kNoSchema) return;
        std::uint64_t count = 0;
        for (std::size_t i = 0; i < array.size() && !done(); ++i)
            count += holds(n.contains, array[i], {&where, {}, i, true}) ? 1 : 0;
        std::uint64_t least = n.min_contains.value_or(1);
        if (count < least)
            add(where, [&] {
                return fmt::format("has {} items that match 'contains', expected at least {}",
                                   count, least);
            });
        if (n.max_contains && count > *n.max_contains)
            add(where, [&] {
                return fmt::format("has {} items that match 'contains', expected at most {}", count,
                                   *n.max_contains);
            });
    }

    void checkUnique(const json::Array& array, const Where& where) {
        std::unordered_map<std::string, std::size_t> seen;
        for (std::size_t i = 0; i < array.size(); ++i) {
            std::string canonical = canonicalJson(array[i]);
            if (!spend(1 + canonical.size() / 16)) return;
            auto [before, is_new] = seen.try_emplace(std::move(canonical), i);
            if (is_new) continue;
            return add(where,
                       [&] { return fmt::format("items {} and {} are equal", before->second, i); });
        }
    }

    void checkObject(const SchemaNode& n, const json::Object& object, const Where& where) {
        checkCount(where, object.size(), n.min_properties, n.max_properties, "properties");
        if (!spend(n.required.size() + n.dependent_required.size())) return;
        for (const std::string& name : n.required) {
            if (!object.contains(name))
                add(where,
                    [&] { return fmt::format("required property '{}' is missing", shown(name)); });
        }
        for (const auto& [name, others] : n.dependent_required) {
            if (!object.contains(name) || !spend(others.size())) continue;
            for (const std::string& other : others) {
                if (!object.contains(other))
                    add(where, [&] {
                        return fmt::format("property '{}' is missing, which '{}' requires",
                                           shown(other), shown(name));
                    });
            }
        }
        bool looks_at_members = !n.properties.empty() || !n.pattern_properties.empty() ||
                                n.additional_properties != kNoSchema ||
                                n.property_names != kNoSchema;
        if (!looks_at_members) return;
        for (const auto& [key, member] : object) {
            if (done() || !spend(1)) return;
            checkMember(n, {key.data(), key.size()}, member, where);
        }
    }

    void checkMember(const SchemaNode& n, std::string_view name, const Value& member,
                     const Where& parent) {
        Where where{&parent, name, 0, false};
        if (n.property_names != kNoSchema) {
            Value as_value(boost::json::string(name.data(), name.size()));
            for (const auto& reason : refusal(n.property_names, as_value, parent, false))
                add(parent, [&] {
                    return fmt::format("property name '{}': {}", shown(name), reason.message);
                });
        }
        bool known = false;
        if (auto property = n.properties.find(name); property != n.properties.end()) {
            known = true;
            check(property->second, member, where);
        }
        for (const auto& [pattern, index] : n.pattern_properties) {
            if (!matches(pattern, name)) continue;
            known = true;
            check(index, member, where);
        }
        if (known || n.additional_properties == kNoSchema) return;
        if (node(n.additional_properties).always_false)
            add(parent, [&] { return fmt::format("property '{}' is not allowed", shown(name)); });
        else
            check(n.additional_properties, member, where);
    }

    void checkLogic(const SchemaNode& n, const Value& value, const Where& where) {
        for (SchemaIndex index : n.all_of)
            check(index, value, where);
        auto fits = [&](SchemaIndex index) { return holds(index, value, where); };
        if (!n.any_of.empty() && std::ranges::none_of(n.any_of, fits))
            add(where, [&] {
                return fmt::format("matches no alternative of 'anyOf' ({})",
                                   refusals(n.any_of, value, where));
            });
        auto count = std::ranges::count_if(n.one_of, fits);
        if (!n.one_of.empty() && count == 0)
            add(where, [&] {
                return fmt::format("matches no alternative of 'oneOf' ({})",
                                   refusals(n.one_of, value, where));
            });
        if (count > 1)
            add(where, [&] {
                return fmt::format("matches {} alternatives of 'oneOf', expected exactly one",
                                   count);
            });
        if (n.not_schema != kNoSchema && holds(n.not_schema, value, where))
            add(where,
                [&] { return std::string("matches the schema of 'not', which it must not"); });
        if (n.if_schema != kNoSchema)
            check(holds(n.if_schema, value, where) ? n.then_schema : n.else_schema, value, where);
        const auto* object = value.if_object();
        for (const auto& [name, index] : n.dependent_schemas) {
            if (object != nullptr && object->contains(name)) check(index, value, where);
        }
    }

    const CompiledSchema& schema_;
    SchemaLimits limits_;
    std::vector<SchemaViolation>* found_ = nullptr;
    std::size_t enough_;
    bool silent_ = false;
    std::size_t steps_ = 0;
    int depth_ = 0;
    std::string given_up_;
};

}  // namespace

std::vector<SchemaViolation> JsonSchema::validate(const Value& instance,
                                                  SchemaLimits limits) const {
    return Validator(*compiled_, limits).run(instance);
}

}  // namespace aegis::text
