#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "ports/journal.h"
#include "store/sqlite/blob_files.h"
#include "store/sqlite/writer.h"

namespace aegis::store {

/// What lies between append() and the writer: batches with large bodies wait here until their files
/// are on disk, and so do later batches of the same execution, which must not overtake. Threads: a
/// small pool. Destroying it passes everything on to the writer.
class BlobStage {
  public:
    BlobStage(BlobFiles& files, Writer& writer, Reserve& reserve, int threads);
    ~BlobStage();
    BlobStage(const BlobStage&) = delete;

    /// Passes everything on and ends the threads. Repeatable.
    void stop();

    /// Any thread; never blocks on the disk. `large` may be empty.
    void submit(const ExecutionId& id, std::vector<ports::Body> large, Job job);

  private:
    struct Waiting {
        std::vector<ports::Body> large;
        Job job;
    };
    void loop();
    void writeFiles(const ExecutionId& id, Waiting& waiting);
    Status writeAll(const ExecutionId& id, const Waiting& waiting);

    BlobFiles& files_;
    Writer& writer_;
    Reserve& reserve_;

    std::mutex mutex_;
    std::condition_variable wake_;
    std::map<ExecutionId, std::deque<Waiting>> waiting_;
    std::deque<ExecutionId> ready_;  ///< executions in waiting_ that no thread works on
    std::size_t bytes_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace aegis::store
