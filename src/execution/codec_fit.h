#pragma once

#include "execution/event.h"

namespace aegis::execution::codec {

/// `data` in at most kMaxEventBytes of JSON. Texts for people are cut first, at the end of a
/// character; only if that is not enough other texts (down to 64 bytes, never a digest), then lists
/// and labels.
json::Object fit(json::Object data);

}  // namespace aegis::execution::codec
