#pragma once

#include <string>

#include "execution/event.h"

// The JSON of events as text, without a value in between: they are written far more often than
// looked at. Byte for byte what json::dump() makes of encodeData() and toJson().

namespace aegis::execution {

std::string encodeText(const Event& event);
std::string toText(const Event& event, const ExecutionId& execution, const AgentId& agent);

}  // namespace aegis::execution
