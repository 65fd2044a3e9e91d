#pragma once

#include <vector>

#include "execution/event.h"

namespace aegis::execution {

/// Every text that an event refers to, in the order of its fields.
std::vector<BodyRef> bodiesOf(const Event& event);

}  // namespace aegis::execution
