#pragma once

#include "store/sqlite/sqlite.h"

namespace aegis::store {

/// Sets up a writing connection (WAL, synchronous=FULL, no automatic checkpoints).
Status configureWriter(Database& db);

/// Brings the file to this build's schema, one transaction for each step. A file from a newer build
/// is kUnsupported and stays as it is.
Status migrate(Database& db);

/// What `PRAGMA user_version` is after migrate().
int schemaVersion();

}  // namespace aegis::store
