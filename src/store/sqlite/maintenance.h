#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "store/sqlite/blob_files.h"
#include "store/sqlite/writer.h"

namespace aegis::store {

/// The store's housekeeping, on a thread and a connection of its own: checkpoints, so that the
/// writer never does one; making the reserve again when there is room; at the start, removing the
/// files of executions that were never accepted.
class Maintenance {
  public:
    Maintenance(Database db, std::string data_dir, BlobFiles& files, Reserve& reserve,
                Writer& writer);
    ~Maintenance();
    Maintenance(const Maintenance&) = delete;

    /// The WAL's length after a commit. Writer's thread.
    void walPages(int pages);

  private:
    void loop();
    void checkpoint(int pages);
    void removeOrphans();

    Database db_;
    const std::string data_dir_;
    BlobFiles& files_;
    Reserve& reserve_;
    Writer& writer_;

    std::mutex mutex_;
    std::condition_variable wake_;
    int wal_pages_ = 0;
    int done_pages_ = 0;  ///< the length at the last checkpoint
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace aegis::store
