#pragma once

#include "text/json.h"

namespace aegis::agent {

/// The JSON Schema (draft 7) of one manifest, for editors: every field with a description. It takes
/// each manifest that parseManifests takes, and refuses what can be refused by shape alone; what a
/// node offers, overlapping paths and the like only the parser sees. Unknown fields are refused in
/// security, resources and volumes, as there.
const json::Value& manifestSchema();

}  // namespace aegis::agent
