#pragma once

#include <optional>

#include "ports/journal.h"
#include "store/sqlite/sqlite.h"

namespace aegis::store {

/// An execution's row and its key.
struct StoredExecution {
    std::int64_t exec_no = 0;
    ports::ExecutionRow row;
    std::string last_chain;
};

/// kNotFound "no execution <id>" when it is missing.
Result<StoredExecution> findExecution(Database& db, const ExecutionId& id);

/// A page of the list, newest first. Walks only rows that match: the filter's conditions are
/// descending streams of exec_no out of indexes, met by leaps (each says the greatest number it has
/// at or below a bound), so that the cost follows the answer's length and not the table's.
Result<ports::ExecutionPage> listExecutions(Database& db, const ports::ExecutionFilter& filter);

Result<std::vector<ports::ExecutionRow>> unfinishedExecutions(Database& db);

/// Oldest first. Looks only at what was created before `time`: the cost does not grow with the
/// newer part of the table.
Result<std::vector<ExecutionId>> executionsEndedBefore(Database& db, UtcTime time,
                                                       std::int64_t limit);

/// Cursors of lists: a letter for the kind and a number. kInvalid for anything else.
std::string makeCursor(char kind, std::int64_t number);
Result<std::int64_t> parseCursor(char kind, const std::string& cursor);

}  // namespace aegis::store
