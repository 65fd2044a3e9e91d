#pragma once

#include "text/json.h"

namespace aegis::config {

/// The JSON Schema (draft 7) of aegis-config.yaml, for editors. It takes each file that parseConfig
/// takes and refuses what can be refused by shape alone. Any value may be "env:NAME".
const json::Value& configSchema();

}  // namespace aegis::config
