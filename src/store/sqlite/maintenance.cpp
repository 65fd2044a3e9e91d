#include "store/sqlite/maintenance.h"

#include <chrono>

#include "base/log.h"

namespace aegis::store {
namespace {
constexpr int kCheckpointPages = 1000;
constexpr int kRestartPages = 3 * kCheckpointPages;
constexpr int kTruncatePages = (64 << 20) / 4096;
constexpr std::chrono::seconds kReserveRetry{5};
}  // namespace

Maintenance::Maintenance(Database db, std::string data_dir, BlobFiles& files, Reserve& reserve,
                         Writer& writer)
    : db_(std::move(db)),
      data_dir_(std::move(data_dir)),
      files_(files),
      reserve_(reserve),
      writer_(writer) {
    // A truncating checkpoint that waits for readers holds the writer up all the while.
    ::sqlite3_busy_timeout(db_.handle(), 100);
    thread_ = std::thread([this] { loop(); });
}

Maintenance::~Maintenance() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Maintenance::walPages(int pages) {
    bool wake = false;
    {
        std::lock_guard lock(mutex_);
        if (pages < done_pages_) done_pages_ = 0;  // the WAL began anew
        wal_pages_ = pages;
        wake = pages - done_pages_ >= kCheckpointPages;
    }
    if (wake) wake_.notify_one();
}

void Maintenance::loop() {
    removeOrphans();
    auto due = [&] { return stopping_ || wal_pages_ - done_pages_ >= kCheckpointPages; };
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        wake_.wait_for(lock, kReserveRetry, due);
        if (stopping_) return;
        int pages = wal_pages_;
        bool checkpoint_due = due();
        done_pages_ = checkpoint_due ? pages : done_pages_;
        lock.unlock();
        if (checkpoint_due) checkpoint(pages);
        if (!reserve_.held() && reserve_.make())
            log(LogLevel::kInfo, "there is room on the data directory's disk again");
        lock.lock();
    }
}

void Maintenance::checkpoint(int pages) {
    int code = ::sqlite3_wal_checkpoint_v2(db_.handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                           nullptr, nullptr);
    // Under a load that never pauses a passive one never has all, and the log would grow without
    // end. Little is left now, for which the writer waits; cutting a long file takes far longer,
    // and what is cut must be allocated anew.
    if (code == SQLITE_OK && pages > kRestartPages) {
        code = ::sqlite3_wal_checkpoint_v2(db_.handle(), nullptr, SQLITE_CHECKPOINT_RESTART,
                                           nullptr, nullptr);
    }
    if (code == SQLITE_OK && pages > kTruncatePages) {
        code = ::sqlite3_wal_checkpoint_v2(db_.handle(), nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                           nullptr, nullptr);
    }
    if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY) return;
    Error error = sqlError(db_.handle(), code);
    // The WAL keeps what could not be copied; only a failed sync is a loss.
    if (isLostWrite(error)) writer_.fail(error);
    log(LogLevel::kWarn, "checkpoint failed", {{"error", error.message}});
}

void Maintenance::removeOrphans() {
    for (const auto& id : files_.olderThan(data_dir_ + "/lock")) {
        {
            std::lock_guard lock(mutex_);
            if (stopping_) return;
        }
        Query q = db_.query("SELECT 1 FROM executions WHERE id = ?").bind(id.str());
        auto row = q.step();
        if (row && !*row) (void)files_.removeAll(id);
    }
}

}  // namespace aegis::store
