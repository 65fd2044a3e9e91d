#pragma once

#include "store/sqlite/sqlite.h"

namespace aegis::store {

/// How long the WAL's file is kept at least, where the disk has room aplenty: what the commits
/// between two checkpoints take.
inline constexpr std::int64_t kWalBytes = 5 << 20;

/// Makes the file of `db`'s WAL kWalBytes long, with zeros behind what SQLite has written: a sync
/// of what is written over needs no change of the file system's own data, which costs several times
/// as much. SQLite takes zeros for the end of its log. Only where nobody commits meanwhile.
/// A failure leaves the file as it was, and is no harm.
void growWal(Database& db);

}  // namespace aegis::store
