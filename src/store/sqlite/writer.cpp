#include "store/sqlite/writer.h"

#include <future>
#include <utility>

#include "base/log.h"
#include "store/sqlite/wal_space.h"

namespace aegis::store {
namespace {
constexpr std::size_t kGroupJobs = 256;
constexpr std::size_t kGroupBytes = 1 << 20;
/// What waits for company and is written by a caller along with its own.
constexpr std::size_t kLedJobs = 8;
constexpr std::size_t kQueueJobs = 65'536;
constexpr std::size_t kQueueBytes = 512 << 20;
constexpr std::chrono::milliseconds kQuietAtStart{100};
}  // namespace

Writer::Writer(Database db, Reserve& reserve, Fatal fatal, std::chrono::milliseconds wait)
    : db_(std::move(db)), reserve_(reserve), fatal_(std::move(fatal)), wait_(wait) {
    ::sqlite3_wal_hook(db_.handle(), &Writer::walHook, this);
    thread_ = std::thread([this] { loop(); });
}

Writer::~Writer() { stop(); }

void Writer::stop() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

int Writer::walHook(void* self, sqlite3*, const char*, int pages) {
    auto* writer = static_cast<Writer*>(self);
    // It began anew, maybe after its file was cut.
    if (pages < writer->wal_pages_) writer->wal_is_long_ = false;
    writer->wal_pages_ = pages;
    if (writer->on_wal_pages_) writer->on_wal_pages_(pages);
    return SQLITE_OK;
}

void Writer::submit(Job job) {
    bool wake = false;
    {
        std::unique_lock lock(mutex_);
        if (queue_.size() >= kQueueJobs || queued_bytes_ + job.bytes > kQueueBytes) {
            job.bytes = 0;
            job.work = [](Database&) -> Status {
                return {ErrorCode::kUnavailable, "too much is waiting to be written"};
            };
        }
        queued_bytes_ += job.bytes;
        if (!job.may_wait) ++urgent_;
        // A caller that writes wakes the thread itself when it has done so.
        wake = !led_ && (!job.may_wait || queue_.empty() || queued_bytes_ >= kGroupBytes);
        bool lead = mayLead(job);
        queue_.push_back({std::move(job), std::chrono::steady_clock::now()});
        if (lead) {
            led_ = true;
            auto group = take();
            lock.unlock();
            commit(std::move(group));
            finish();
            return;
        }
    }
    if (wake) wake_.notify_one();
}

/// With the lock, before it is queued. Where jobs come in company the thread writes: groups are
/// larger if those who come meanwhile wait for one another.
bool Writer::mayLead(const Job& job) const {
    return job.may_block && !job.may_wait && !writing_ && alone_ && !stopping_ && wal_is_long_ &&
           urgent_ == 1 && queue_.size() < kLedJobs;
}

Status Writer::run(std::function<Status(Database&)> work, bool needs_room) {
    std::promise<Status> promise;
    auto answer = promise.get_future();
    Job job;
    job.work = std::move(work);
    job.needs_room = needs_room;
    job.may_block = true;
    job.done = [&](const Status& status) { promise.set_value(status); };
    submit(std::move(job));
    return answer.get();
}

void Writer::fail(const Error& error) {
    if (broken_.exchange(true)) return;
    log(LogLevel::kError, "the store cannot make data durable", {{"error", error.message}});
    fatal_(error);
}

void Writer::loop() {
    waitForWork(kQuietAtStart);  // a daemon that starts has other things to do than to grow files
    while (true) {
        if (!wal_is_long_) growWalOnce();
        Group group = next();
        if (group.empty()) return;
        commit(std::move(group));
        finish();
    }
}

void Writer::growWalOnce() {
    {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return !writing_; });
        writing_ = true;
    }
    wal_is_long_ = true;
    growWal(db_);
    std::lock_guard lock(mutex_);
    writing_ = false;
}

void Writer::waitForWork(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, most, [this] { return stopping_ || !queue_.empty(); });
}

Writer::Group Writer::next() {
    using Clock = std::chrono::steady_clock;
    std::unique_lock lock(mutex_);
    auto hurry = [&] {
        return stopping_ || urgent_ > 0 || queued_bytes_ >= kGroupBytes ||
               queue_.size() >= kGroupJobs;
    };
    while (true) {
        // Whoever writes meanwhile may take all that waits for company.
        wake_.wait(lock, [&] { return !writing_ && (stopping_ || !queue_.empty()); });
        if (queue_.empty()) return {};
        auto until = queue_.front().at + wait_;
        if (hurry() || Clock::now() >= until) return take();
        wake_.wait_until(lock, until);
    }
}

/// The next group, with the lock.
Writer::Group Writer::take() {
    writing_ = true;
    taken_ = 0;
    Group group;
    std::size_t bytes = 0;
    while (!queue_.empty() && group.size() < kGroupJobs && bytes < kGroupBytes) {
        Job job = std::move(queue_.front().job);
        queue_.pop_front();
        bytes += job.bytes;
        queued_bytes_ -= job.bytes;
        if (!job.may_wait) {
            --urgent_;
            ++taken_;
        }
        group.push_back(std::move(job));
    }
    return group;
}

/// After a group.
void Writer::finish() {
    std::lock_guard lock(mutex_);
    writing_ = false;
    alone_ = taken_ <= 1 && urgent_ <= 1;
    // With the lock: who stops the writer may end it as soon as it is free.
    if (std::exchange(led_, false) && (stopping_ || !queue_.empty())) wake_.notify_one();
}

// SQLite undoes a transaction by itself when the disk is full, or not, as it sees fit; undoing the
// group in every case keeps one path.
void Writer::commit(Group group) {
    Answers answers(group.size());
    Status status = broken_ ? Status(lostWrite()) : tryCommit(group, answers);
    if (!status && status.error().code == ErrorCode::kStorageFull) {
        reserve_.release();
        for (std::size_t i = 0; i < group.size(); ++i) {
            answers[i].reset();
            if (group[i].needs_room) answers[i] = storageFull();
        }
        status = tryCommit(group, answers);
    }
    if (!status && isLostWrite(status.error())) fail(status.error());
    for (std::size_t i = 0; i < group.size(); ++i) {
        bool refused = answers[i] && !*answers[i];
        if (group[i].done) group[i].done(refused || status ? *answers[i] : status);
        group[i] = {};
    }
}

// Success: all jobs have answers and those that succeeded are durable. Failure: nothing is.
Status Writer::tryCommit(Group& group, Answers& answers) {
    const auto given = answers;
    AEGIS_CHECK(control("BEGIN IMMEDIATE"));
    Status status = runPlain(group, answers);
    if (!status && group.size() > 1) {
        if (db_.inTransaction()) AEGIS_CHECK(control("ROLLBACK"));
        answers = given;
        AEGIS_CHECK(control("BEGIN IMMEDIATE"));
        status = runApart(group, answers);
    }
    if (status) status = control("COMMIT");
    if (!status && db_.inTransaction()) (void)control("ROLLBACK");
    return status;
}

// Without savepoints, which copy every page that is changed: few jobs are ever refused. Ends with
// the first that is, unless it is before it wrote anything.
Status Writer::runPlain(Group& group, Answers& answers) {
    for (std::size_t i = 0; i < group.size(); ++i) {
        if (answers[i]) continue;
        if (group[i].needs_room) answers[i] = reserve_.roomForNew();
        if (answers[i] && !*answers[i]) continue;
        answers[i] = group[i].work(db_);
        if (!*answers[i]) return *answers[i];
    }
    return {};
}

// Each in a savepoint, so that one that is refused leaves the others alone.
Status Writer::runApart(Group& group, Answers& answers) {
    for (std::size_t i = 0; i < group.size(); ++i) {
        if (answers[i]) continue;
        answers[i] = runOne(group[i]);
        bool full = !*answers[i] && answers[i]->error().code == ErrorCode::kStorageFull &&
                    !group[i].needs_room;
        if (full || !db_.inTransaction()) return *answers[i];
    }
    return {};
}

std::optional<Status> Writer::runOne(Job& job) {
    if (job.needs_room) {
        if (auto room = reserve_.roomForNew(); !room) return room;
    }
    if (auto begun = control("SAVEPOINT job"); !begun) return begun;
    Status status = job.work(db_);
    if (status) return control("RELEASE job");
    if (db_.inTransaction()) {
        auto undone = control("ROLLBACK TO job");
        auto released = control("RELEASE job");
        // A savepoint that cannot be undone must take the whole group with it.
        if (!undone || !released) (void)control("ROLLBACK");
    }
    return status;
}

Status Writer::control(const char* sql) { return db_.query(sql).run(); }

}  // namespace aegis::store
