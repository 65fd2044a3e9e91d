// The OpenAPI document, made from the operations and the schemas.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "api/contract.h"
#include "wire/http1.h"

namespace aegis::api {
namespace {

/// What every path may answer: bad queries, refused clients, and what may befall any of them.
constexpr std::array kCommonErrors{400, 401, 403, 408, 413, 414, 431, 500, 503};

json::Value reference(std::string_view schema) {
    if (schema == "any") return json::Object{};
    if (schema.ends_with("[]"))
        return json::Object{{"type", "array"},
                            {"items", reference(schema.substr(0, schema.size() - 2))}};
    return json::Object{{"$ref", fmt::format("#/components/schemas/{}", schema)}};
}

json::Object parameterSchema(const Parameter& p) {
    switch (p.type) {
        case ParameterType::kInteger: {
            json::Object out{{"type", "integer"}, {"minimum", p.least}};
            if (p.most != INT64_MAX) out["maximum"] = p.most;
            return out;
        }
        case ParameterType::kBoolean:
            return {{"type", "boolean"}};
        case ParameterType::kTime:
            return {{"type", "string"}, {"format", "date-time"}};
        case ParameterType::kWord: {
            json::Array words;
            auto rest = p.words;
            while (!rest.empty()) {
                auto end = std::min(rest.find(' '), rest.size());
                words.push_back(json::Value(rest.substr(0, end)));
                rest.remove_prefix(std::min(end + 1, rest.size()));
            }
            return {{"type", "string"}, {"enum", std::move(words)}};
        }
        case ParameterType::kLabel:
            return {{"type", "array"},
                    {"items", json::Object{{"type", "string"}, {"pattern", "^[^=]+=.*$"}}}};
        case ParameterType::kTexts:
            return {{"type", "array"}, {"items", json::Object{{"type", "string"}}}};
        case ParameterType::kText:
            return {{"type", "string"}};
    }
    return {};
}

/// "{name...}" is written "{name}": OpenAPI has no word for a rest with slashes.
std::string documentPath(std::string_view path) {
    std::string out(path);
    if (auto dots = out.find("...}"); dots != std::string::npos) out.erase(dots, 3);
    return out;
}

json::Array parametersOf(const Operation& op) {
    json::Array out;
    auto path = documentPath(op.path);
    for (auto at = path.find('{'); at != std::string::npos; at = path.find('{', at + 1)) {
        out.push_back(json::Object{{"name", path.substr(at + 1, path.find('}', at) - at - 1)},
                                   {"in", "path"},
                                   {"required", true},
                                   {"schema", json::Object{{"type", "string"}}}});
    }
    for (const auto& p : op.query) {
        out.push_back(json::Object{{"name", p.name},
                                   {"in", "query"},
                                   {"description", p.about},
                                   {"schema", parameterSchema(p)}});
    }
    return out;
}

json::Object requestBody(const Operation& op) {
    json::Object content;
    content["application/json"] = json::Object{{"schema", reference(op.body)}};
    if (op.body == "DeployRequest") {
        for (auto media : {"text/yaml", "application/yaml"})
            content[media] = json::Object{{"schema", json::Object{{"type", "string"}}}};
    }
    return {{"required", op.id != "executeAgent"}, {"content", std::move(content)}};
}

void addAnswer(json::Object& responses, const Answer& answer) {
    auto status = std::to_string(answer.status);
    if (!responses.contains(status))
        responses[status] = json::Object{{"description", wire::reasonPhrase(answer.status)}};
    if (answer.media.empty()) return;
    auto& response = responses[status].as_object();
    if (!response.contains("content")) response["content"] = json::Object{};
    json::Object media;
    // A stream's schema is that of the JSON in each event's data.
    media["schema"] = answer.schema.empty() ? json::Value(json::Object{{"type", "string"}})
                                            : reference(answer.schema);
    response["content"].as_object()[answer.media] = std::move(media);
}

json::Object responsesOf(const Operation& op) {
    std::vector<int> errors(kCommonErrors.begin(), kCommonErrors.end());
    errors.insert(errors.end(), op.errors.begin(), op.errors.end());
    std::ranges::sort(errors);
    json::Object out;
    for (const auto& answer : op.answers)
        addAnswer(out, answer);
    for (auto status : errors) {
        if (!out.contains(std::to_string(status))) addAnswer(out, {status, "Error"});
    }
    return out;
}

json::Object operationObject(const Operation& op) {
    json::Object out{{"operationId", op.id}, {"summary", op.about}};
    bool open = op.path.starts_with("/health/") || op.path == "/" ||
                op.path.starts_with("/console/");
    if (open) out["security"] = json::Array{};
    if (auto parameters = parametersOf(op); !parameters.empty())
        out["parameters"] = std::move(parameters);
    if (!op.body.empty()) out["requestBody"] = requestBody(op);
    out["responses"] = responsesOf(op);
    return out;
}

}  // namespace

json::Object openApiDocument(const std::vector<const Operation*>& operations,
                             std::string_view version) {
    json::Object paths;
    for (const auto* op : operations) {
        auto path = documentPath(op->path);
        if (!paths.contains(path)) paths[path] = json::Object{};
        std::string method(op->method);
        std::ranges::transform(method, method.begin(),
                               [](char c) { return static_cast<char>(c | 0x20); });
        paths[path].as_object()[method] = operationObject(*op);
    }
    json::Object bearer{{"type", "http"}, {"scheme", "bearer"}};
    return {{"openapi", "3.1.0"},
            {"info", json::Object{{"title", "AEGIS"},
                                  {"version", version},
                                  {"description",
                                   "The daemon's API. Times are RFC 3339 UTC with "
                                   "milliseconds; ids are lower-case UUIDs."}}},
            {"security", json::Array{json::Object{}, json::Object{{"bearer", json::Array{}}}}},
            {"paths", std::move(paths)},
            {"components",
             json::Object{{"schemas", openApiSchemas()},
                          {"securitySchemes", json::Object{{"bearer", std::move(bearer)}}}}}};
}

}  // namespace aegis::api
