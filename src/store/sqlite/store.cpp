#include "store/sqlite/store.h"

#include <fcntl.h>

#include <cstdlib>
#include <optional>

#include "base/log.h"
#include "os/files.h"
#include "store/sqlite/journal.h"
#include "store/sqlite/maintenance.h"
#include "store/sqlite/registry.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/volume_rows.h"

namespace aegis::store {
namespace {

constexpr int kBlobThreads = 2;

void abortOnLoss(const Error& error) {
    log(LogLevel::kError, "ending the process: the state on disk decides at the next start",
        {{"error", error.message}});
    std::abort();
}

}  // namespace

struct Store::Parts {
    Parts(StoreOptions& o, DirLock dir_lock)
        : lock(std::move(dir_lock)), reserve(o.data_dir, o.reserve_bytes), files(o.data_dir) {}

    DirLock lock;
    Reserve reserve;
    BlobFiles files;
    Sequence sequence;
    Readers readers;
    std::optional<Writer> writer;
    std::optional<Maintenance> maintenance;
    std::optional<BlobStage> stage;
    std::optional<SqliteJournal> journal;
    std::optional<SqliteRegistry> registry;
    std::optional<SqliteVolumes> volumes;
};

Store::Store(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

// The stage passes on what it has, the writer commits it; only then may the parts go that its
// callbacks use (the maintenance, the journal).
Store::~Store() {
    parts_->stage->stop();
    parts_->writer->stop();
}

Result<std::unique_ptr<Store>> Store::open(StoreOptions o) {
    AEGIS_CHECK(os::makeDirs(o.data_dir));
    AEGIS_CHECK(os::makeDirs(o.data_dir + "/executions"));
    AEGIS_TRY(DirLock lock, DirLock::acquire(o.data_dir));
    auto parts = std::make_unique<Parts>(o, std::move(lock));
    std::string path = o.data_dir + "/aegis.db";
    // Made here for its mode, which SQLite gives to the files beside it too.
    AEGIS_TRY(os::Fd file, os::openFile(path, O_RDWR | O_CREAT, 0600));
    file.reset();

    AEGIS_TRY(Database writing, Database::open(path, Database::Mode::kWrite, o.vfs));
    auto prepared = [&]() -> Status {
        AEGIS_CHECK(configureWriter(writing));
        AEGIS_CHECK(migrate(writing));
        return parts->sequence.load(writing);
    }();
    if (!prepared) return std::move(prepared.error()).within(path);
    AEGIS_TRY(Database checkpointing, Database::open(path, Database::Mode::kWrite, o.vfs));
    AEGIS_CHECK(configureWriter(checkpointing));
    AEGIS_CHECK(parts->readers.open(path, o.vfs));
    if (!parts->reserve.make())
        log(LogLevel::kWarn, "the data directory's disk is full: no new executions are accepted");

    auto& p = *parts;
    p.writer.emplace(std::move(writing), p.reserve, o.fatal ? o.fatal : abortOnLoss,
                     std::chrono::milliseconds(o.group_wait_ms));
    p.maintenance.emplace(std::move(checkpointing), o.data_dir, p.files, p.reserve, *p.writer);
    p.writer->onWalPages([&p](int pages) { p.maintenance->walPages(pages); });
    p.stage.emplace(p.files, *p.writer, p.reserve, kBlobThreads);
    p.journal.emplace(*p.writer, *p.stage, p.files, p.readers, p.sequence);
    p.registry.emplace(*p.writer, p.readers, p.sequence, o.clock, o.random);
    p.volumes.emplace(*p.writer, p.readers);
    return std::unique_ptr<Store>(new Store(std::move(parts)));
}

ports::Journal& Store::journal() { return *parts_->journal; }
ports::Registry& Store::registry() { return *parts_->registry; }
ports::VolumeStore& Store::volumes() { return *parts_->volumes; }
Status Store::verify(const ExecutionId& id) { return parts_->journal->verify(id); }

}  // namespace aegis::store
