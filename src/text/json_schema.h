#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/json.h"

namespace aegis::text {

struct CompiledSchema;

struct SchemaViolation {
    std::string pointer;  ///< RFC 6901 pointer to the place in the instance; the root is "/"
    std::string message;

    /// "/items/0/name: expected string, got integer"
    std::string str() const { return pointer + ": " + message; }
    bool operator==(const SchemaViolation&) const = default;
};

struct SchemaLimits {
    std::size_t max_steps =
        5'000'000;  ///< a step: one keyword set on one value, 4 bytes matched, ...
    std::size_t max_violations = 1000;
    int max_depth = 400;  ///< of schemas applied inside one another
};

/// A JSON Schema, draft 7 (https://json-schema.org/draft-07), with `$defs`, `$anchor`,
/// `prefixItems`, `dependentRequired`, `dependentSchemas`, `minContains` and `maxContains` of the
/// later drafts; siblings of `$ref` count if `$schema` names one of those. `$ref` stays inside the
/// document, by pointer, `$id` or anchor. The formats date-time, date, time, email, hostname, ipv4,
/// ipv6, uri, uuid and regex are asserted, others ignored. Patterns run on RE2 and so take linear
/// time. Immutable; copies share the compiled form; any thread.
class JsonSchema {
  public:
    /// kInvalid with every problem in `details`, `path` being the JSON pointer inside the schema:
    /// keywords of the wrong type, references that leave the document or point nowhere, patterns
    /// that RE2 cannot do, `unevaluated*` and dynamic references (they would have to be ignored).
    static Result<JsonSchema> compile(const json::Value& schema);

    /// Every violation, in the document's order as far as the schema goes through it; empty means
    /// valid. Beyond a limit the last violation, at "/", says so.
    std::vector<SchemaViolation> validate(const json::Value& instance,
                                          SchemaLimits limits = {}) const;

  private:
    JsonSchema() = default;
    std::shared_ptr<const CompiledSchema> compiled_;  // immutable, so copies may share it
};

}  // namespace aegis::text
