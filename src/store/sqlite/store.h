#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/time.h"
#include "ports/journal.h"
#include "ports/registry.h"
#include "ports/volumes.h"

namespace aegis::store {

struct StoreOptions {
    std::string data_dir;  ///< made if missing (0700)
    Clock& clock;
    Random& random;
    /// Called once, on a thread of the store, when a sync failed and nothing may be trusted any
    /// more. Default: logs and aborts; recovery decides at the next start. If it returns, every
    /// later write is refused.
    std::function<void(const Error&)> fatal = {};
    std::int64_t group_wait_ms = 50;        ///< how long soft batches wait for company
    std::uint64_t reserve_bytes = 4 << 20;  ///< given up when the disk is full
    std::string vfs = {};                   ///< SQLite VFS; empty: the default. For tests.
};

/// The node's state in one data directory: aegis.db (SQLite, WAL), executions/<id>/<sha256> for
/// large bodies, `reserve`, `lock`. One process at a time. Destroying it commits what was appended
/// and joins its threads; nothing may use the ports any more then.
class Store {
  public:
    /// kConflict when another process has the directory, kUnsupported when a newer aegis wrote it.
    static Result<std::unique_ptr<Store>> open(StoreOptions options);
    ~Store();
    Store(const Store&) = delete;

    ports::Journal& journal();
    ports::Registry& registry();
    ports::VolumeStore& volumes();

    /// Checks an execution's chain of events from the first to the last; kInternal names the first
    /// event that is damaged, missing or replaced. Blocks on reading.
    Status verify(const ExecutionId& id);

  private:
    struct Parts;
    explicit Store(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace aegis::store
