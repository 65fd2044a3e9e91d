#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "text/escape.h"
#include "text/json_schema.h"
#include "text/json_schema_tree.h"

namespace aegis::text {
namespace {

using json::Value;

constexpr int kMaxSchemaDepth = 200;
constexpr std::size_t kMaxProblems = 100;
constexpr std::size_t kShownBytes = 120;

constexpr std::pair<std::string_view, unsigned> kTypes[] = {
    {"null", kNullType},     {"boolean", kBooleanType}, {"integer", kIntegerType},
    {"number", kNumberType}, {"string", kStringType},   {"array", kArrayType},
    {"object", kObjectType},
};

std::string decodePercent(std::string_view s) {
    auto digit = [](char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
    };
    std::string out;
    for (std::size_t i = 0; i < s.size(); ++i) {
        bool code = s[i] == '%' && i + 2 < s.size() && digit(s[i + 1]) >= 0 && digit(s[i + 2]) >= 0;
        out += code ? static_cast<char>(digit(s[i + 1]) * 16 + digit(s[i + 2])) : s[i];
        if (code) i += 2;
    }
    return out;
}

// Compiles schema objects into nodes. A schema is known by the address of its value; references are
// settled at the end, when every $id is known, and may add schemas at places no keyword leads to.
class Compiler {
  public:
    explicit Compiler(const Value& document) : document_(document) {}

    Result<std::shared_ptr<const CompiledSchema>> run() {
        auto text = json::getString(document_, "$schema");
        modern_ = text.contains("2019-09") || text.contains("2020-12");
        resources_[""] = &document_;
        out_->root = schema(document_, "", "", 0);
        // Settling one may compile another schema, with references of its own.
        for (std::size_t i = 0; i < references_.size(); ++i)
            settle(Reference(references_[i]));
        if (problems_.empty()) return std::shared_ptr<const CompiledSchema>(std::move(out_));
        const ErrorDetail& first = problems_[0];
        Error error(ErrorCode::kInvalid, fmt::format("invalid JSON Schema: {}", first.str()));
        error.details = std::move(problems_);
        return error;
    }

  private:
    struct Reference {
        SchemaIndex from;
        std::string target;
        std::string base;
        std::string pointer;
    };

    void problem(const std::string& pointer, std::string what) {
        if (problems_.size() >= kMaxProblems) return;
        problems_.push_back({pointer.empty() ? "/" : pointer, "", 0, 0, std::move(what)});
    }

    SchemaIndex schema(const Value& value, std::string base, const std::string& pointer,
                       int depth) {
        if (auto known = by_address_.find(&value); known != by_address_.end()) return known->second;
        auto index = static_cast<SchemaIndex>(out_->nodes.size());
        out_->nodes.emplace_back();
        by_address_[&value] = index;
        if (value.is_bool()) {
            out_->nodes[index].always_false = !value.get_bool();
        } else if (!value.is_object()) {
            problem(pointer, "a schema must be an object or a boolean");
        } else if (depth > kMaxSchemaDepth) {
            problem(pointer, fmt::format("schemas nested deeper than {}", kMaxSchemaDepth));
        } else {
            // Built aside: compiling a part may move the nodes.
            SchemaNode node;
            Place place{value, std::move(base), pointer, depth};
            fill(node, place, index);
            out_->nodes[index] = std::move(node);
        }
        return index;
    }

    struct Place {
        const Value& value;
        std::string base;
        const std::string& pointer;
        int depth;

        const Value* find(std::string_view key) const { return json::find(value, key); }
        std::string at(std::string_view key) const { return pointer + "/" + escapePointer(key); }
    };

    void fill(SchemaNode& node, Place& place, SchemaIndex index) {
        const Value* ref = place.find("$ref");
        bool alone = ref != nullptr && !modern_;  // draft 7 ignores what stands beside a $ref
        if (!alone) identify(place);
        // Definitions are compiled even beside a $ref: their $ids may be what it means.
        for (std::string_view key : {"definitions", "$defs"})
            schemaMap(place, key, [](std::string_view, SchemaIndex) {});
        if (ref != nullptr) {
            if (const auto* target = ref->if_string())
                references_.push_back(
                    {index, std::string(json::view(*target)), place.base, place.at("$ref")});
            else
                problem(place.at("$ref"), "must be a string");
        }
        if (alone) return;
        for (std::string_view key :
             {"unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef"}) {
            if (place.find(key) != nullptr) problem(place.at(key), "is not supported");
        }
        fillAny(node, place);
        fillNumber(node, place);
        fillString(node, place);
        fillArray(node, place);
        fillObject(node, place);
        fillLogic(node, place);
    }

    void identify(Place& place) {
        auto id = json::getString(place.value, "$id");
        std::size_t hash = id.find('#');
        auto uri = id.substr(0, hash);
        if (!uri.empty()) {
            place.base = resolveUri(place.base, uri);
            resources_.try_emplace(place.base, &place.value);
        }
        if (hash != id.npos && hash + 1 < id.size() && id[hash + 1] != '/')
            anchors_.try_emplace(place.base + std::string(id.substr(hash)), &place.value);
        auto anchor = json::getString(place.value, "$anchor");
        if (!anchor.empty())
            anchors_.try_emplace(fmt::format("{}#{}", place.base, anchor), &place.value);
    }

    SchemaIndex sub(const Place& place, std::string_view key) {
        const Value* value = place.find(key);
        return value == nullptr ? kNoSchema
                                : schema(*value, place.base, place.at(key), place.depth + 1);
    }

    std::vector<SchemaIndex> list(const Place& place, std::string_view key,
                                  bool may_be_empty = false) {
        std::vector<SchemaIndex> out;
        const Value* value = place.find(key);
        if (value == nullptr) return out;
        const auto* array = value->if_array();
        if (array == nullptr || (array->empty() && !may_be_empty)) {
            problem(place.at(key), "must be a non-empty array of schemas");
            return out;
        }
        for (std::size_t i = 0; i < array->size(); ++i)
            out.push_back(schema((*array)[i], place.base, fmt::format("{}/{}", place.at(key), i),
                                 place.depth + 1));
        return out;
    }

    template <class Use>
    void schemaMap(const Place& place, std::string_view key, Use&& use) {
        const Value* value = place.find(key);
        if (value == nullptr) return;
        const auto* object = value->if_object();
        if (object == nullptr) return problem(place.at(key), "must be an object of schemas");
        for (const auto& [name, member] : *object) {
            std::string_view member_name(name.data(), name.size());
            use(member_name,
                schema(member, place.base, place.at(key) + "/" + escapePointer(member_name),
                       place.depth + 1));
        }
    }

    std::optional<std::uint64_t> count(const Place& place, std::string_view key) {
        const Value* value = place.find(key);
        if (value == nullptr) return std::nullopt;
        if (value->is_uint64()) return value->get_uint64();
        std::int64_t number = json::getInt(place.value, key, -1);
        if (number >= 0) return static_cast<std::uint64_t>(number);
        problem(place.at(key), "must be a non-negative integer");
        return std::nullopt;
    }

    std::optional<Value> number(const Place& place, std::string_view key) {
        const Value* value = place.find(key);
        if (value == nullptr) return std::nullopt;
        if (value->is_number()) return *value;
        problem(place.at(key), "must be a number");
        return std::nullopt;
    }

    std::optional<Regex> regex(std::string_view pattern, const std::string& pointer) {
        auto compiled = Regex::compileEcma(pattern);
        if (compiled) return std::move(*compiled);
        problem(pointer, compiled.error().message);
        return std::nullopt;
    }

    std::vector<std::string> names(const Value& value, const std::string& pointer) {
        std::vector<std::string> out;
        const auto* array = value.if_array();
        bool good = array != nullptr;
        for (std::size_t i = 0; good && i < array->size(); ++i) {
            const auto* name = (*array)[i].if_string();
            good = name != nullptr;
            if (good) out.emplace_back(json::view(*name));
        }
        if (!good) problem(pointer, "must be an array of strings");
        return out;
    }

    void fillTypes(SchemaNode& node, const Place& place, const Value& type) {
        auto add = [&](const Value& name) {
            const auto* text = name.if_string();
            for (auto [known, bit] : kTypes) {
                if (text == nullptr || json::view(*text) != known) continue;
                node.types |= bit == kNumberType ? kNumberType | kIntegerType : bit;
                node.types_text += (node.types_text.empty() ? "" : " or ") + std::string(known);
                return;
            }
            problem(place.at("type"),
                    fmt::format("{} is no type", shorten(json::dump(name), kShownBytes)));
        };
        if (const auto* array = type.if_array()) {
            if (array->empty()) problem(place.at("type"), "must not be empty");
            for (const Value& name : *array)
                add(name);
        } else {
            add(type);
        }
    }

    void fillAny(SchemaNode& node, const Place& place) {
        if (const Value* type = place.find("type")) fillTypes(node, place, *type);
        if (const Value* values = place.find("enum")) {
            const auto* array = values->if_array();
            if (array == nullptr) return problem(place.at("enum"), "must be an array");
            node.choices.emplace();
            for (const Value& value : *array) {
                node.choices->insert(canonicalJson(value));
                if (node.choices_text.size() < kShownBytes)
                    node.choices_text +=
                        (node.choices_text.empty() ? "" : ", ") + json::dump(value);
            }
            node.choices_text = "one of " + shorten(node.choices_text, kShownBytes);
        }
        if (const Value* value = place.find("const")) {
            std::set<std::string> only{canonicalJson(*value)};
            bool possible = !node.choices || node.choices->contains(*only.begin());
            node.choices = possible ? std::move(only) : std::set<std::string>{};
            node.choices_text = shorten(json::dump(*value), kShownBytes);
        }
    }

    void fillNumber(SchemaNode& node, const Place& place) {
        node.minimum = number(place, "minimum");
        node.maximum = number(place, "maximum");
        node.exclusive_minimum = number(place, "exclusiveMinimum");
        node.exclusive_maximum = number(place, "exclusiveMaximum");
        node.multiple_of = number(place, "multipleOf");
        if (node.multiple_of && !(node.multiple_of->to_number<double>() > 0)) {
            problem(place.at("multipleOf"), "must be greater than 0");
            node.multiple_of.reset();
        }
    }

    void fillString(SchemaNode& node, const Place& place) {
        node.min_length = count(place, "minLength");
        node.max_length = count(place, "maxLength");
        if (const Value* pattern = place.find("pattern")) {
            if (const auto* text = pattern->if_string())
                node.pattern = regex(json::view(*text), place.at("pattern"));
            else
                problem(place.at("pattern"), "must be a string");
        }
        if (const Value* format = place.find("format")) {
            if (!format->is_string()) problem(place.at("format"), "must be a string");
            node.format_name = json::getString(place.value, "format");
            node.format = findFormat(node.format_name);
        }
    }

    void fillArray(SchemaNode& node, const Place& place) {
        node.min_items = count(place, "minItems");
        node.max_items = count(place, "maxItems");
        const Value* unique = place.find("uniqueItems");
        if (unique != nullptr && !unique->is_bool())
            problem(place.at("uniqueItems"), "must be a boolean");
        node.unique_items = json::getBool(place.value, "uniqueItems");
        node.contains = sub(place, "contains");
        node.min_contains = count(place, "minContains");
        node.max_contains = count(place, "maxContains");
        const Value* items = place.find("items");
        if (place.find("prefixItems") != nullptr) {
            node.prefix_items = list(place, "prefixItems");
            node.items = sub(place, "items");
        } else if (items != nullptr && items->is_array()) {
            node.prefix_items = list(place, "items", true);
            node.items = sub(place, "additionalItems");
        } else {
            node.items = sub(place, "items");
            // Without effect here, but what it holds may be referred to.
            sub(place, "additionalItems");
        }
    }

    void fillObject(SchemaNode& node, const Place& place) {
        node.min_properties = count(place, "minProperties");
        node.max_properties = count(place, "maxProperties");
        if (const Value* required = place.find("required"))
            node.required = names(*required, place.at("required"));
        schemaMap(place, "properties", [&](std::string_view name, SchemaIndex index) {
            node.properties.emplace(name, index);
        });
        schemaMap(place, "patternProperties", [&](std::string_view pattern, SchemaIndex index) {
            auto compiled = regex(pattern, place.at("patternProperties"));
            if (compiled) node.pattern_properties.emplace_back(std::move(*compiled), index);
        });
        node.additional_properties = sub(place, "additionalProperties");
        node.property_names = sub(place, "propertyNames");
        schemaMap(place, "dependentSchemas", [&](std::string_view name, SchemaIndex index) {
            node.dependent_schemas.emplace_back(name, index);
        });
        for (std::string_view key : {"dependencies", "dependentRequired"})
            fillDependencies(node, place, key);
    }

    void fillDependencies(SchemaNode& node, const Place& place, std::string_view key) {
        const Value* value = place.find(key);
        if (value == nullptr) return;
        const auto* object = value->if_object();
        if (object == nullptr) return problem(place.at(key), "must be an object");
        for (const auto& [name, member] : *object) {
            std::string member_name(name.data(), name.size());
            std::string pointer = place.at(key) + "/" + escapePointer(member_name);
            if (member.is_array() || key == "dependentRequired")
                node.dependent_required.emplace_back(member_name, names(member, pointer));
            else
                node.dependent_schemas.emplace_back(
                    member_name, schema(member, place.base, pointer, place.depth + 1));
        }
    }

    void fillLogic(SchemaNode& node, const Place& place) {
        node.all_of = list(place, "allOf");
        node.any_of = list(place, "anyOf");
        node.one_of = list(place, "oneOf");
        node.not_schema = sub(place, "not");
        node.if_schema = sub(place, "if");
        node.then_schema = sub(place, "then");
        node.else_schema = sub(place, "else");
    }

    void settle(const Reference& reference) {
        std::string_view target = reference.target;
        std::size_t hash = target.find('#');
        std::string_view uri = target.substr(0, hash);
        std::string fragment = hash == target.npos ? "" : decodePercent(target.substr(hash + 1));
        std::string base = uri.empty() ? reference.base : resolveUri(reference.base, uri);
        auto resource = resources_.find(base);
        if (resource == resources_.end())
            return problem(
                reference.pointer,
                fmt::format("$ref '{}' leads to another document; only references within this "
                            "one are supported",
                            shorten(target, kShownBytes)));
        const Value* found = resource->second;
        if (fragment.starts_with('/')) {
            boost::json::error_code ec;
            found = found->find_pointer({fragment.data(), fragment.size()}, ec);
        } else if (!fragment.empty()) {
            auto anchor = anchors_.find(base + "#" + fragment);
            found = anchor == anchors_.end() ? nullptr : anchor->second;
        }
        if (found == nullptr)
            return problem(reference.pointer,
                           fmt::format("$ref '{}' points to nothing in this document",
                                       shorten(target, kShownBytes)));
        SchemaIndex index =
            schema(*found, base, fragment.starts_with("/") ? fragment : std::string(), 0);
        out_->nodes[static_cast<std::size_t>(reference.from)].ref = index;
    }

    const Value& document_;
    bool modern_ = false;
    std::shared_ptr<CompiledSchema> out_ = std::make_shared<CompiledSchema>();
    std::unordered_map<const Value*, SchemaIndex> by_address_;
    std::map<std::string, const Value*> resources_;
    std::map<std::string, const Value*> anchors_;
    std::vector<Reference> references_;
    std::vector<ErrorDetail> problems_;
};

void appendCanonical(std::string& out, const Value& value) {
    if (const auto* array = value.if_array()) {
        out += '[';
        for (const Value& element : *array) {
            appendCanonical(out, element);
            out += ',';
        }
        out += ']';
    } else if (const auto* object = value.if_object()) {
        std::vector<std::string_view> keys;
        keys.reserve(object->size());
        for (const auto& member : *object)
            keys.emplace_back(member.key().data(), member.key().size());
        std::ranges::sort(keys);
        out += '{';
        for (std::string_view key : keys) {
            out += json::quote(key) + ":";
            appendCanonical(out, object->at({key.data(), key.size()}));
            out += ',';
        }
        out += '}';
    } else {
        out += json::dump(value);
    }
}

}  // namespace

std::string escapePointer(std::string_view part) {
    std::string out;
    for (char c : part)
        out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    return out;
}

std::string canonicalJson(const Value& value) {
    std::string out;
    appendCanonical(out, value);
    return out;
}

Result<JsonSchema> JsonSchema::compile(const Value& schema) {
    JsonSchema out;
    try {
        AEGIS_TRY(out.compiled_, Compiler(schema).run());
    } catch (const std::exception& e) {
        return Error(ErrorCode::kInternal, fmt::format("JSON Schema: {}", e.what()));
    }
    return out;
}

}  // namespace aegis::text
