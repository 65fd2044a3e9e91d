#pragma once

#include <vector>

#include "execution/event.h"
#include "net/server.h"

namespace aegis::telemetry {

/// One line for each change of an execution's state, with its id. Texts of models, inputs and
/// containers are never in it.
void logEvents(const ExecutionId& id, const AgentId& agent,
               const std::vector<execution::Event>& events);

/// One line for each request: method, path, status, ms, bytes, principal, peer. Never a query, a
/// header or a body. What probes and scrapers get right (/health/, /metrics) is for debugging only.
void logAnswered(const net::Answered& answered);

}  // namespace aegis::telemetry
