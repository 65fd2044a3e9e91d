#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "net/server.h"
#include "text/json.h"

namespace aegis::api {

enum class ParameterType : std::uint8_t {
    kText,
    kInteger,  ///< within [least, most]
    kBoolean,  ///< "true" or "false"
    kTime,     ///< RFC 3339, UTC
    kWord,     ///< one of `words`
    kLabel,    ///< "k=v", may be repeated
    kTexts,    ///< text, may be repeated
};

/// A parameter of a query.
struct Parameter {
    std::string_view name;
    ParameterType type = ParameterType::kText;
    std::string_view about;
    std::int64_t least = 0;
    std::int64_t most = INT64_MAX;
    std::string_view words = {};  ///< of kWord, separated by spaces
};

/// A successful answer. `schema` names one of the document's schemas; empty for an answer that is
/// not JSON or has no body.
struct Answer {
    int status = 200;
    std::string_view schema;
    std::string_view media = "application/json";  ///< empty: no body
};

/// What one method of one path takes and gives: the one definition that the router, the check of
/// queries and /openapi.json share.
struct Operation {
    std::string_view method;
    std::string_view
        path;  ///< "/v1/agents/{agent}": "{x}" is one segment, a last "{x...}" the rest
    std::string_view id;
    std::string_view about;
    std::vector<Parameter> query = {};
    std::string_view body = {};  ///< a schema's name; empty: the method takes no body
    std::vector<Answer> answers = {};
    std::vector<int> errors = {};  ///< beside those that every path may give
};

/// Whether `path` (decoded) fits `pattern`; what its braces stand for is captured.
bool matches(std::string_view pattern, std::string_view path, std::vector<std::string>& captured);

/// kInvalid, with a detail for each, for parameters that the operation does not have, that are
/// given twice, or whose value is not of their type: none is ever ignored.
Status checkQuery(const Operation& operation, const wire::Query& query);

/// The OpenAPI 3.1 document of these operations.
json::Object openApiDocument(const std::vector<const Operation*>& operations,
                             std::string_view version);

/// components/schemas of the document.
json::Object openApiSchemas();

}  // namespace aegis::api
