// The schemas of /openapi.json, in a short form: a line for each field, "name type about". A "?"
// behind the name: it may be missing. Types: text int number bool uuid time map (of texts) object
// any, another schema's name, T[], T|null. Objects are closed: what is not listed is not there.

#include <fmt/format.h>

#include <array>

#include "api/contract.h"
#include "api/schemas.h"

namespace aegis::api {
namespace {

std::string_view takeWord(std::string_view& line) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    auto end = std::min(line.find(' '), line.size());
    auto word = line.substr(0, end);
    line.remove_prefix(end);
    return word;
}

json::Object simpleType(std::string_view type) {
    if (type == "text") return {{"type", "string"}};
    if (type == "int") return {{"type", "integer"}};
    if (type == "number") return {{"type", "number"}};
    if (type == "bool") return {{"type", "boolean"}};
    if (type == "object") return {{"type", "object"}};
    if (type == "any") return {};
    if (type == "uuid") return {{"type", "string"}, {"format", "uuid"}};
    if (type == "time") return {{"type", "string"}, {"format", "date-time"}};
    if (type == "map")
        return {{"type", "object"}, {"additionalProperties", json::Object{{"type", "string"}}}};
    return {{"$ref", fmt::format("#/components/schemas/{}", type)}};
}

json::Object typeOf(std::string_view type) {
    constexpr std::string_view kOrNull = "|null";
    if (type.ends_with(kOrNull)) {
        auto inner = typeOf(type.substr(0, type.size() - kOrNull.size()));
        return {{"anyOf", json::Array{std::move(inner), json::Object{{"type", "null"}}}}};
    }
    if (type.ends_with("[]"))
        return {{"type", "array"}, {"items", typeOf(type.substr(0, type.size() - 2))}};
    return simpleType(type);
}

json::Object objectOf(std::string_view fields) {
    json::Object properties;
    json::Array required;
    while (!fields.empty()) {
        auto end = std::min(fields.find('\n'), fields.size());
        auto line = fields.substr(0, end);
        fields.remove_prefix(std::min(end + 1, fields.size()));
        auto name = takeWord(line);
        if (name.empty()) continue;
        bool optional = name.ends_with('?');
        if (optional) name.remove_suffix(1);
        auto schema = typeOf(takeWord(line));
        line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
        if (!line.empty()) schema["description"] = line;
        properties[name] = std::move(schema);
        if (!optional) required.push_back(json::Value(name));
    }
    return {{"type", "object"},
            {"properties", std::move(properties)},
            {"required", std::move(required)},
            {"additionalProperties", false}};
}

json::Object wordsOf(std::string_view words) {
    json::Array out;
    for (auto word = takeWord(words); !word.empty(); word = takeWord(words))
        out.push_back(json::Value(word));
    return {{"type", "string"}, {"enum", std::move(out)}};
}

/// One schema for each type of event, and one for any of them.
void addEvents(json::Object& out) {
    json::Array any;
    json::Array of_executions;
    for (const auto& [type, fields] : kEventData) {
        auto data = fmt::format("{}Data", type);
        out[data] = objectOf(fields);
        auto event = objectOf(isAgentEvent(type) ? kAgentEventFields : kEventFields);
        auto& properties = event["properties"].as_object();
        properties["type"] = json::Object{{"const", type}};
        properties["data"] = simpleType(data);
        out[type] = std::move(event);
        any.push_back(simpleType(type));
        if (!isAgentEvent(type)) of_executions.push_back(simpleType(type));
    }
    json::Object discriminator{{"propertyName", "type"}};
    out["NodeEvent"] = json::Object{{"oneOf", std::move(any)}, {"discriminator", discriminator}};
    out["Event"] = json::Object{{"oneOf", std::move(of_executions)},
                                {"discriminator", std::move(discriminator)}};
}

}  // namespace

json::Object openApiSchemas() {
    json::Object out;
    for (const auto& [name, words] : kWords)
        out[name] = wordsOf(words);
    for (const auto& [name, fields] : kObjects)
        out[name] = objectOf(fields);
    addEvents(out);
    auto anyOf = [&](std::string_view name, std::initializer_list<std::string_view> schemas) {
        json::Array list;
        for (auto schema : schemas)
            list.push_back(simpleType(schema));
        out[name] = json::Object{{"anyOf", std::move(list)}};
    };
    anyOf("DeployRequest", {"ManifestFiles", "ManifestText", "object"});
    anyOf("Deployed", {"DeployedAgent", "DeployedList", "ValidatedAgent", "ValidatedList"});
    return out;
}

}  // namespace aegis::api
