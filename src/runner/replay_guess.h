#pragma once

#include <deque>
#include <vector>

#include "execution/input.h"

namespace aegis::runner {

/// The inputs that can have made the rules write, in `state`, the events that follow in the record.
/// More than one where the events do not tell; none for an event that no input begins. `prompt` is
/// what an iteration's bootstrap would send.
std::vector<execution::InputData> possibleInputs(const execution::State& state,
                                                 const std::deque<execution::Event>& ahead,
                                                 const execution::BodyRef& prompt);

}  // namespace aegis::runner
