#pragma once

#include <string>

#include "text/json.h"

namespace aegis::cli {

/// A JSON value as a block-style YAML 1.2 document, keys in order. Strings that YAML would read as
/// something else are quoted; texts of several lines become literal blocks.
std::string yamlText(const json::Value& value);

}  // namespace aegis::cli
