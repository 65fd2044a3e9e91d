#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "store/sqlite/data_dir.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/sqlite.h"
#include "store/sqlite/store_test_util.h"

namespace aegis::store {
namespace {

TEST(DataDir, ASecondDaemonIsToldWhoHasIt) {
    TempDir dir;
    auto first = openStore(dir.path());
    auto second = Store::open({dir.path(), os::systemClock(), os::systemRandom()});
    ASSERT_EQ(codeOf(second), code(ErrorCode::kConflict));
    auto expected = "another daemon (pid " + std::to_string(::getpid()) + ") is using";
    EXPECT_NE(second.error().message.find(expected), std::string::npos) << second.error().message;
    EXPECT_EQ(*os::readFile(dir.path() + "/lock", 100), std::to_string(::getpid()) + "\n");
    first.reset();
    EXPECT_TRUE(openStore(dir.path()));
}

// Killed between fork and exec of some program, it leaves a child that has its lock for a moment.
TEST(DataDir, AChildOfADeadDaemonIsWaitedFor) {
    TempDir dir;
    openStore(dir.path()).reset();
    pid_t dead = ::fork();
    if (dead == 0) ::_exit(0);
    ASSERT_EQ(::waitpid(dead, nullptr, 0), dead);
    auto path = dir.path() + "/lock";
    ASSERT_TRUE(os::writeFileAtomic(path, std::to_string(dead) + "\n"));
    auto held = os::openFile(path, O_RDWR);
    ASSERT_TRUE(held);
    ASSERT_EQ(::flock(held->get(), LOCK_EX | LOCK_NB), 0);
    std::thread child([&] {
        os::pauseMs(100);
        held->reset();
    });
    EXPECT_TRUE(Store::open({dir.path(), os::systemClock(), os::systemRandom()}));
    child.join();
    EXPECT_EQ(*os::readFile(path, 100), std::to_string(::getpid()) + "\n");
}

TEST(DataDir, OnlyItsOwnerMayLook) {
    TempDir dir;
    auto store = openStore(dir.path() + "/a/b");
    ASSERT_TRUE(append(store->journal(), firstBatch(newId())));
    for (const char* name :
         {"", "/aegis.db", "/aegis.db-wal", "/lock", "/reserve", "/executions"}) {
        struct stat st{};
        ASSERT_EQ(::stat((dir.path() + "/a/b" + name).c_str(), &st), 0) << name;
        EXPECT_EQ(st.st_mode & 077, 0U) << name;
    }
}

TEST(Schema, ANewerFileIsRefusedAndUnchanged) {
    TempDir dir;
    openStore(dir.path()).reset();
    {
        auto db = Database::open(dir.path() + "/aegis.db", Database::Mode::kWrite, "");
        ASSERT_TRUE(db->exec("PRAGMA user_version = 999"));
    }
    auto store = Store::open({dir.path(), os::systemClock(), os::systemRandom()});
    ASSERT_EQ(codeOf(store), code(ErrorCode::kUnsupported));
    EXPECT_NE(store.error().message.find("schema 999"), std::string::npos);
    auto db = Database::open(dir.path() + "/aegis.db", Database::Mode::kWrite, "");
    EXPECT_EQ(*db->integer("PRAGMA user_version"), 999);
}

TEST(Schema, AFileThatIsNoDatabaseIsAnError) {
    TempDir dir;
    ASSERT_TRUE(os::writeFileAtomic(dir.path() + "/aegis.db", std::string(8192, 'x')));
    auto store = Store::open({dir.path(), os::systemClock(), os::systemRandom()});
    EXPECT_EQ(codeOf(store), code(ErrorCode::kInternal));
}

// A VFS that passes everything on but can fail syncs and writes of the WAL.
struct FaultyVfs {
    static inline std::atomic<bool> fail_sync = false;
    static inline std::atomic<int> fail_writes = 0;

    struct File {
        sqlite3_file base;
        const sqlite3_io_methods* real_methods;
        bool wal;
    };
    static inline sqlite3_vfs* real = nullptr;
    static inline sqlite3_vfs vfs;
    static inline sqlite3_io_methods methods;

    static sqlite3_file* inner(sqlite3_file* file) {
        return reinterpret_cast<sqlite3_file*>(reinterpret_cast<File*>(file) + 1);
    }
    static int sync(sqlite3_file* f, int flags) {
        if (fail_sync) return SQLITE_IOERR_FSYNC;
        return inner(f)->pMethods->xSync(inner(f), flags);
    }
    static int write(sqlite3_file* f, const void* data, int size, sqlite3_int64 at) {
        if (reinterpret_cast<File*>(f)->wal && fail_writes > 0 && fail_writes-- > 0)
            return SQLITE_FULL;
        return inner(f)->pMethods->xWrite(inner(f), data, size, at);
    }
    static int open(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* out_flags) {
        int code = real->xOpen(real, name, inner(f), flags, out_flags);
        reinterpret_cast<File*>(f)->wal = (flags & SQLITE_OPEN_WAL) != 0;
        f->pMethods = inner(f)->pMethods == nullptr ? nullptr : &methods;
        return code;
    }
    static const char* install() {
        if (real != nullptr) return "faulty";
        real = ::sqlite3_vfs_find(nullptr);
        vfs = *real;
        vfs.zName = "faulty";
        vfs.pNext = nullptr;
        vfs.szOsFile = static_cast<int>(sizeof(File)) + real->szOsFile;
        vfs.xOpen = open;
        methods = {};
        methods.iVersion = 2;
#define PASS(name, ...)                                  \
    methods.name = [](sqlite3_file* f, auto... a) {      \
        return inner(f)->pMethods->name(inner(f), a...); \
    }
        PASS(xClose);
        PASS(xRead);
        PASS(xTruncate);
        PASS(xFileSize);
        PASS(xLock);
        PASS(xUnlock);
        PASS(xCheckReservedLock);
        PASS(xFileControl);
        PASS(xSectorSize);
        PASS(xDeviceCharacteristics);
        PASS(xShmMap);
        PASS(xShmLock);
        PASS(xShmUnmap);
        methods.xShmBarrier = [](sqlite3_file* f) { inner(f)->pMethods->xShmBarrier(inner(f)); };
#undef PASS
        methods.xSync = sync;
        methods.xWrite = write;
        ::sqlite3_vfs_register(&vfs, 0);
        return "faulty";
    }
};

TEST(DiskTrouble, AFailedSyncIsFatalAndNothingIsAcknowledgedAfterIt) {
    TempDir dir;
    std::atomic<int> fatal = 0;
    StoreOptions options{dir.path(), os::systemClock(), os::systemRandom()};
    options.fatal = [&](const Error&) { ++fatal; };
    options.vfs = FaultyVfs::install();
    auto store = Store::open(options);
    ASSERT_TRUE(store) << store.error().message;
    auto& journal = (*store)->journal();
    auto id = newId();
    ASSERT_EQ(codeOf(append(journal, firstBatch(id))), "ok");
    FaultyVfs::fail_sync = true;
    EXPECT_EQ(codeOf(append(journal, nextBatch(id, 1))), code(ErrorCode::kIo));
    EXPECT_EQ(fatal, 1);
    FaultyVfs::fail_sync = false;
    EXPECT_EQ(codeOf(append(journal, nextBatch(id, 1))), code(ErrorCode::kIo));
    EXPECT_EQ(codeOf(append(journal, firstBatch(newId()))), code(ErrorCode::kIo));
    EXPECT_EQ(fatal, 1);
}

TEST(DiskTrouble, AFullDiskInAGroupRefusesTheNewAndRetriesTheRest) {
    TempDir dir;
    StoreOptions options{dir.path(), os::systemClock(), os::systemRandom()};
    options.vfs = FaultyVfs::install();
    auto store = Store::open(options);
    ASSERT_TRUE(store) << store.error().message;
    auto& journal = (*store)->journal();
    auto running = newId(), fresh = newId();
    ASSERT_EQ(codeOf(append(journal, firstBatch(running))), "ok");
    auto soft = nextBatch(running, 1);
    soft.durability = execution::Durability::kSoon;
    FaultyVfs::fail_writes = 1;
    auto first = appendAsync(journal, soft);
    auto second = appendAsync(journal, firstBatch(fresh));
    auto third = appendAsync(journal, nextBatch(fresh, 1));
    auto fourth = appendAsync(journal, nextBatch(running, 2));
    EXPECT_EQ(codeOf(first.get()), "ok");
    EXPECT_EQ(codeOf(second.get()), code(ErrorCode::kStorageFull));
    EXPECT_NE(codeOf(third.get()), "ok");
    EXPECT_EQ(codeOf(fourth.get()), "ok");
    EXPECT_EQ(FaultyVfs::fail_writes, 0);
    struct stat st{};
    EXPECT_NE(::stat((dir.path() + "/reserve").c_str(), &st), 0) << "the reserve was not released";
    EXPECT_EQ(journal.row(running)->last_seq, 3U);
    EXPECT_EQ(codeOf(journal.row(fresh)), code(ErrorCode::kNotFound));
    EXPECT_EQ(codeOf((*store)->verify(running)), "ok");
    EXPECT_EQ(codeOf(append(journal, firstBatch(newId()))), code(ErrorCode::kStorageFull));
    // It comes back by itself, and with it new executions.
    for (int i = 0; i < 100 && ::stat((dir.path() + "/reserve").c_str(), &st) != 0; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_EQ(codeOf(append(journal, firstBatch(newId()))), "ok");
}

TEST(DiskTrouble, ADiskThatStaysFullAnswersEverybody) {
    TempDir dir;
    StoreOptions options{dir.path(), os::systemClock(), os::systemRandom()};
    options.vfs = FaultyVfs::install();
    auto store = Store::open(options);
    ASSERT_TRUE(store);
    auto& journal = (*store)->journal();
    auto id = newId();
    ASSERT_EQ(codeOf(append(journal, firstBatch(id))), "ok");
    FaultyVfs::fail_writes = 1'000'000;
    std::vector<std::future<Status>> answers;
    for (std::uint64_t seq = 1; seq < 20; ++seq)
        answers.push_back(appendAsync(journal, nextBatch(id, seq)));
    for (auto& answer : answers)
        EXPECT_NE(codeOf(answer.get()), "ok");
    FaultyVfs::fail_writes = 0;
    EXPECT_EQ(codeOf(append(journal, nextBatch(id, 1))), "ok");
    EXPECT_EQ(codeOf((*store)->verify(id)), "ok");
}

// A real file system that fills up. In a mount namespace of its own; needs root.
class FullDisk : public ::testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0 || ::unshare(CLONE_NEWNS) != 0 ||
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=12m") != 0) {
            GTEST_SKIP() << "cannot mount a tmpfs here";
        }
        mounted_ = true;
    }
    void TearDown() override {
        if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
    }
    // Takes all but `left` bytes.
    void fill(std::uint64_t left) {
        struct statvfs st{};
        ASSERT_EQ(::statvfs(dir_.path().c_str(), &st), 0);
        auto free = st.f_bavail * st.f_frsize;
        auto fd = os::openFile(filler_, O_RDWR | O_CREAT, 0600);
        ASSERT_TRUE(fd);
        if (free <= left) return;
        ASSERT_EQ(::posix_fallocate(fd->get(), 0, static_cast<off_t>(free - left)), 0);
    }

    TempDir dir_;
    bool mounted_ = false;
    std::string filler_ = dir_.path() + "/filler";
};

TEST_F(FullDisk, RunningExecutionsEndAndNewOnesAreRefused) {
    auto store = openStore(dir_.path() + "/data");
    auto& journal = store->journal();
    auto id = newId();
    ASSERT_EQ(codeOf(append(journal, firstBatch(id))), "ok");
    fill(100'000);
    EXPECT_EQ(codeOf(append(journal, firstBatch(newId()))), code(ErrorCode::kStorageFull));
    auto created = firstBatch(newId());
    created.bodies.push_back(ports::makeBody(std::string(500'000, 'x')));
    EXPECT_EQ(codeOf(append(journal, created)), code(ErrorCode::kStorageFull));
    struct stat st{};
    EXPECT_NE(::stat((dir_.path() + "/data/executions/" + created.execution.str()).c_str(), &st),
              0);
    // What runs goes on, first in what is left, then in the reserve, rows and files.
    std::uint64_t seq = 1;
    for (; seq < 20; ++seq) {
        auto batch = nextBatch(id, seq);
        batch.bodies.push_back(ports::makeBody(std::string(60'000 + seq, 'r')));
        if (seq == 10) batch.bodies.push_back(ports::makeBody(std::string(300'000, 'f')));
        ASSERT_EQ(codeOf(append(journal, batch)), "ok") << seq;
    }
    EXPECT_NE(::stat((dir_.path() + "/data/reserve").c_str(), &st), 0);
    EXPECT_EQ(codeOf(store->verify(id)), "ok");
    EXPECT_EQ(codeOf(append(journal, firstBatch(newId()))), code(ErrorCode::kStorageFull));
    EXPECT_EQ(codeOf(store->registry().deploy({{"a", "1.0.0", "", {}, {}, "y", "{}"}})),
              code(ErrorCode::kStorageFull));

    // Until even the reserve is used up: errors, nothing half written, and reading still works.
    Status status;
    for (; status && seq < 1000; ++seq) {
        auto batch = nextBatch(id, seq);
        batch.bodies.push_back(ports::makeBody(std::string(60'000 + seq, 'r')));
        status = append(journal, batch);
    }
    EXPECT_EQ(codeOf(status), code(ErrorCode::kStorageFull));
    EXPECT_EQ(codeOf(store->verify(id)), "ok");
    store.reset();
    store = openStore(dir_.path() + "/data");
    ASSERT_TRUE(store) << "must start on a full disk";
    EXPECT_EQ(codeOf(store->verify(id)), "ok");
    EXPECT_EQ(codeOf(append(store->journal(), firstBatch(newId()))), code(ErrorCode::kStorageFull));

    ::unlink(filler_.c_str());
    std::string last;
    for (int i = 0; i < 80 && last != "ok"; ++i) {
        last = codeOf(append(store->journal(), firstBatch(newId())));
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    EXPECT_EQ(last, "ok");
}

}  // namespace
}  // namespace aegis::store
