#pragma once

#include <cstdint>

#include "store/sqlite/sqlite.h"

namespace aegis::store {

/// The numbers of executions and of the node's events: they only grow, also over removals and
/// restarts, and may have gaps. Used by jobs on the writer's thread alone.
class Sequence {
  public:
    Status load(Database& db);
    /// Keeps what was given out from being given out again when the newest rows are removed.
    Status store(Database& db) const;

    std::int64_t nextExecution() { return next_execution_++; }
    std::int64_t nextEvent() { return next_event_++; }

  private:
    std::int64_t next_execution_ = 1;
    std::int64_t next_event_ = 1;
};

}  // namespace aegis::store
