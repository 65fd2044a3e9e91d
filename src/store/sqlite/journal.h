#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "ports/journal.h"
#include "store/sqlite/blob_stage.h"
#include "store/sqlite/readers.h"
#include "store/sqlite/sequence.h"

namespace aegis::store {

struct EncodedBatch;

/// An execution as far as it is stored: where it ends, or where a new one begins.
struct Tail {
    std::int64_t exec_no = 0;
    std::uint64_t seq = 0;
    std::string chain;
    int status = -1;  ///< none yet
};

/// ports::Journal on SQLite. Appends encode on the caller's thread, wait for large bodies in the
/// stage and are written by the writer; everything else reads.
class SqliteJournal : public ports::Journal {
  public:
    /// Bodies up to this size are rows, larger ones files.
    static constexpr std::size_t kMaxRowBytes = 64 << 10;

    SqliteJournal(Writer& writer, BlobStage& stage, BlobFiles& files, Readers& readers,
                  Sequence& sequence);

    void append(ports::Batch batch, Committed done) override;
    Result<std::vector<execution::Event>> events(const ExecutionId& id, std::uint64_t after,
                                                 std::size_t limit) override;
    Result<std::string> body(const ExecutionId& id, const execution::BodyRef& ref) override;
    Result<ports::ExecutionRow> row(const ExecutionId& id) override;
    Result<ports::ExecutionPage> list(const ports::ExecutionFilter& filter) override;
    Result<std::vector<ExecutionId>> idsByPrefix(const std::string& prefix, int limit) override;
    Result<std::vector<ports::ExecutionRow>> unfinished() override;
    Result<std::vector<ExecutionId>> endedBefore(UtcTime time, std::size_t limit) override;
    Result<std::optional<ExecutionId>> byIdempotencyKey(const AgentId& agent,
                                                        const std::string& key,
                                                        std::string& digest) override;
    Status remove(const ExecutionId& id) override;
    Status releaseEnded() override;
    Result<ports::NodeEventPage> nodeEvents(const ports::NodeEventFilter& filter) override;
    void observe(Observer observer) override;
    void unobserve() override;

    /// Reads the whole chain of an execution. kInternal names the first event that is damaged,
    /// missing or not the one that was written.
    Status verify(const ExecutionId& id);

  private:
    using Observers = std::vector<Observer>;
    void committed(EncodedBatch& batch, const Status& status);
    Result<Tail> findTail(Database& db, EncodedBatch& batch);
    Status write(Database& db, EncodedBatch& batch);

    Writer& writer_;
    BlobStage& stage_;
    BlobFiles& files_;
    Readers& readers_;
    Sequence& sequence_;
    /// Of executions that have not ended, as they are on disk: what a batch takes out comes back
    /// when it is committed. Whoever writes.
    std::unordered_map<ExecutionId, Tail> tails_;
    std::mutex mutex_;
    /// Shared: the writer calls a snapshot of the list while another thread adds to it.
    std::shared_ptr<const Observers> observers_ = std::make_shared<Observers>();
};

}  // namespace aegis::store
