#pragma once

#include <span>
#include <string_view>

namespace aegis::api {

/// A schema in the short form that schemas.cpp explains.
struct SchemaText {
    std::string_view name;
    std::string_view fields;
};

extern const std::span<const SchemaText> kWords;      ///< texts that are one of these words
extern const std::span<const SchemaText> kObjects;    ///< records, pages, requests
extern const std::span<const SchemaText> kEventData;  ///< by type: what is in an event's data

/// Of an execution's event, and of an agent's.
extern const std::string_view kEventFields;
extern const std::string_view kAgentEventFields;
bool isAgentEvent(std::string_view type);

}  // namespace aegis::api
