#pragma once

#include <string>

#include "base/result.h"

namespace aegis::os {

/// Makes `to` (which must not exist) a copy of `from` that shares its blocks where the file system
/// can (FICLONE) and else copies only data, leaving holes as holes. Not durable: sync is the
/// caller's. Nothing is left behind on failure.
Status copySparse(const std::string& from, const std::string& to, unsigned mode);

}  // namespace aegis::os
