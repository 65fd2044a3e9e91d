#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "store/sqlite/data_dir.h"
#include "store/sqlite/sqlite.h"

namespace aegis::store {

/// Called when durability is lost; must not return in a daemon (the process ends, recovery
/// decides).
using Fatal = std::function<void(const Error&)>;

/// One unit of work of the writer: all of it is committed or none.
struct Job {
    /// Runs in the group's transaction; an error undoes it and nothing else. May run a second time,
    /// when the disk was full or another of the group was refused, so it must not change what it
    /// captured. `db` only.
    std::function<Status(Database&)> work;
    /// Called once, by the thread that wrote it, after the commit or the refusal. Must not block.
    std::function<void(const Status&)> done;
    std::size_t bytes = 0;
    bool may_wait = false;    ///< up to the group's wait, for company
    bool needs_room = false;  ///< begins something new: refused while the disk is full
    bool may_block = false;   ///< its caller waits for it, or may: it can be made to write it
};

/// Writes, one thread at a time: its own, or, where nothing else goes on, the caller of a job that
/// may block, which spares two changes of threads. Jobs run in the order of submit(), several to a
/// transaction; callbacks in the same order. When the disk is full the whole group is undone, the
/// reserve released, what needs no room tried once more, and every job gets its answer. Destroying
/// it commits what was submitted.
class Writer {
  public:
    Writer(Database db, Reserve& reserve, Fatal fatal, std::chrono::milliseconds wait);
    ~Writer();
    Writer(const Writer&) = delete;

    /// Commits what was submitted and ends the thread. Repeatable.
    void stop();

    /// Any thread; blocks on the disk only if the job says so. Beyond 65,536 waiting jobs or 512
    /// MiB a job is refused (kUnavailable), through its `done`.
    void submit(Job job);
    /// submit() and wait for the commit. Not from a callback.
    Status run(std::function<Status(Database&)> work, bool needs_room);
    /// Reports a loss of durability seen elsewhere; from then on every job is refused.
    void fail(const Error& error);

    /// Called after each commit, by the thread that wrote it, with the number of pages in the WAL.
    /// Before the first submit().
    void onWalPages(std::function<void(int)> callback) { on_wal_pages_ = std::move(callback); }

  private:
    using Group = std::vector<Job>;
    using Answers = std::vector<std::optional<Status>>;

    void loop();
    void waitForWork(std::chrono::milliseconds most);
    void growWalOnce();
    Group next();
    bool mayLead(const Job& job) const;
    Group take();
    void finish();
    void commit(Group group);
    Status tryCommit(Group& group, Answers& answers);
    Status runPlain(Group& group, Answers& answers);
    Status runApart(Group& group, Answers& answers);
    std::optional<Status> runOne(Job& job);
    Status control(const char* sql);
    static int walHook(void* self, sqlite3* db, const char* name, int pages);

    Database db_;
    Reserve& reserve_;
    Fatal fatal_;
    const std::chrono::milliseconds wait_;
    std::function<void(int)> on_wal_pages_;
    int wal_pages_ = 0;  ///< whoever writes
    std::atomic<bool> wal_is_long_ = false;
    std::atomic<bool> broken_ = false;

    std::mutex mutex_;
    std::condition_variable wake_;
    struct Waiting {
        Job job;
        std::chrono::steady_clock::time_point at;
    };
    std::deque<Waiting> queue_;
    std::size_t queued_bytes_ = 0;
    std::size_t urgent_ = 0;  ///< queued jobs that may not wait
    bool writing_ = false;    ///< somebody uses db_
    bool led_ = false;        ///< a caller does
    bool alone_ = true;       ///< the last group had one urgent job, and none has come meanwhile
    std::size_t taken_ = 0;   ///< urgent ones of the group that is being written
    bool stopping_ = false;
    std::thread thread_;  ///< last: starts when all else is there
};

}  // namespace aegis::store
