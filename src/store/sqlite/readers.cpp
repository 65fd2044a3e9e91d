#include "store/sqlite/readers.h"

namespace aegis::store {

Status Readers::open(const std::string& path, const std::string& vfs) {
    for (int i = 0; i < kConnections; ++i) {
        AEGIS_TRY(Database db, Database::open(path, Database::Mode::kRead, vfs));
        AEGIS_CHECK(db.exec("PRAGMA temp_store = MEMORY"));
        idle_.push_back(std::move(db));
    }
    return {};
}

Readers::Loan Readers::take() {
    std::unique_lock lock(mutex_);
    free_.wait(lock, [&] { return !idle_.empty(); });
    Database db = std::move(idle_.back());
    idle_.pop_back();
    lock.unlock();
    return {*this, std::move(db)};
}

// A failure to begin shows itself in the first query; each query alone is consistent all the same.
Readers::Loan::Loan(Readers& owner, Database db) : owner_(owner), db_(std::move(db)) {
    (void)db_.query("BEGIN").run();
}

Readers::Loan::~Loan() {
    if (db_.inTransaction()) (void)db_.query("COMMIT").run();
    {
        std::lock_guard lock(owner_.mutex_);
        owner_.idle_.push_back(std::move(db_));
    }
    owner_.free_.notify_one();
}

}  // namespace aegis::store
