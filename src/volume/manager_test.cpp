#include "volume/manager.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "os/clock.h"
#include "os/files.h"
#include "os/loop.h"
#include "os/mount.h"
#include "volume/attachment.h"
#include "volume/manager_fixture_for_test.h"

namespace aegis::volume {
namespace {

/// Bytes that go into `path` until the file system refuses; errno in `error`.
std::uint64_t fill(const std::string& path, int& error) {
    os::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    std::string block(1 << 20, 'x');
    std::uint64_t written = 0;
    while (true) {
        ssize_t n = ::write(fd.get(), block.data(), block.size());
        if (n < 0) {
            error = errno;
            if (error != ENOSPC || block.size() <= 4096) break;
            block.resize(block.size() / 2);
            continue;
        }
        written += static_cast<std::uint64_t>(n);
    }
    if (error == ENOSPC && ::fsync(fd.get()) != 0) error = errno;
    return written;
}

TEST_F(VolumeManagerTest, startsEmptyAndBelongsToTheSandboxUser) {
    auto attached = attach(newExecution(), {volume("workspace", 8 * kMiB)});
    ASSERT_TRUE(attached) << attached.error().message;
    ASSERT_EQ(attached->size(), 1U);
    struct stat st{};
    ASSERT_EQ(::stat(attached->at(0).source.c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 1000U);
    EXPECT_EQ(st.st_gid, 1000U);
    EXPECT_TRUE(fs::is_empty(attached->at(0).source));
    EXPECT_EQ(attached->at(0).mount_point, "/workspace");
    EXPECT_TRUE(*os::isMountPoint(attached->at(0).source));
}

TEST_F(VolumeManagerTest, theLimitIsHardAndNotBelowTheStatedOne) {
    for (std::uint64_t limit : {1 * kMiB, 20 * kMiB, 100 * kMiB}) {
        auto execution = newExecution();
        auto attached = attach(execution, {volume("workspace", limit)});
        ASSERT_TRUE(attached) << attached.error().message;
        EXPECT_TRUE(manager_->full(execution).empty());
        int error = 0;
        auto written = fill(attached->at(0).source + "/big", error);
        EXPECT_EQ(error, ENOSPC);
        EXPECT_GE(written, limit);
        EXPECT_LE(written, limit + limit / 32 + kMiB / 4);
        auto full = manager_->full(execution);
        ASSERT_EQ(full.size(), 1U) << limit;
        EXPECT_GE(full[0].used_bytes, limit);
        EXPECT_TRUE(detach(execution, now()));
    }
}

TEST_F(VolumeManagerTest, largeVolumesAreSparse) {
    ASSERT_TRUE(attach(newExecution(), {volume("warm", 2048 * kMiB)}));
    auto before = os::systemClock().boot();
    auto attached = attach(newExecution(), {volume("workspace", 2048 * kMiB)});
    auto took_ms = (os::systemClock().boot().ns - before.ns) / 1'000'000;
    ASSERT_TRUE(attached) << attached.error().message;
    RecordProperty("attach_ms", static_cast<int>(took_ms));
    struct stat st{};
    auto image = dir_ + "/images/" + attached->at(0).id.str() + ".img";
    ASSERT_EQ(::stat(image.c_str(), &st), 0);
    EXPECT_GE(st.st_size, static_cast<off_t>(2048 * kMiB));
    EXPECT_LT(static_cast<std::uint64_t>(st.st_blocks) * 512, 8 * kMiB);
    auto space = os::spaceOf(attached->at(0).source);
    ASSERT_TRUE(space);
    EXPECT_GE(space->available_bytes, 2048 * kMiB);
}

TEST_F(VolumeManagerTest, attachIsRepeatableAcrossARestart) {
    auto execution = newExecution();
    auto first = attach(execution, {volume("workspace", 8 * kMiB, 1000)});
    ASSERT_TRUE(first);
    ASSERT_TRUE(os::writeFileAtomic(first->at(0).source + "/kept", "text"));
    restart();
    ASSERT_TRUE(manager_->sweep({execution}, now()));
    auto second = attach(execution, {volume("workspace", 8 * kMiB, 1000)});
    ASSERT_TRUE(second);
    EXPECT_EQ(second->at(0).id, first->at(0).id);
    EXPECT_EQ(*os::readFile(second->at(0).source + "/kept", 100), "text");
    EXPECT_EQ(store_.list()->size(), 1U);
}

TEST_F(VolumeManagerTest, unmountedImageKeepsItsContentAfterARestart) {
    auto execution = newExecution();
    auto first = attach(execution, {volume("workspace", 8 * kMiB, 1000)});
    ASSERT_TRUE(first);
    ASSERT_TRUE(os::writeFileAtomic(first->at(0).source + "/kept", "text"));
    ASSERT_EQ(::umount2(first->at(0).source.c_str(), 0), 0);
    restart();
    auto second = attach(execution, {volume("workspace", 8 * kMiB, 1000)});
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ(*os::readFile(second->at(0).source + "/kept", 100), "text");
}

TEST_F(VolumeManagerTest, anImageIsNeverOnTwoLoopDevices) {
    auto execution = newExecution();
    auto first = attach(execution, {volume("workspace", 8 * kMiB, 1000)});
    ASSERT_TRUE(first);
    // What a container does: it holds the mount while the host's own goes away.
    auto other = base_ + "/other";
    ASSERT_TRUE(os::makeDirs(other));
    ASSERT_EQ(::mount(first->at(0).source.c_str(), other.c_str(), nullptr, MS_BIND, nullptr), 0);
    ASSERT_EQ(::umount2(first->at(0).source.c_str(), 0), 0);
    restart();
    auto second = attach(execution, {volume("workspace", 8 * kMiB, 1000)});
    ASSERT_TRUE(second) << second.error().message;
    ASSERT_TRUE(os::writeFileAtomic(second->at(0).source + "/seen", "both"));
    EXPECT_EQ(*os::readFile(other + "/seen", 100), "both");
    EXPECT_EQ(::umount2(other.c_str(), 0), 0);
}

TEST_F(VolumeManagerTest, ttlZeroIsDeletedAtDetach) {
    auto execution = newExecution();
    auto attached = attach(execution, {volume("workspace", 4 * kMiB, 0)});
    ASSERT_TRUE(attached);
    ASSERT_TRUE(detach(execution, now()));
    EXPECT_FALSE(hasImage(attached->at(0).id));
    EXPECT_FALSE(fs::exists(attached->at(0).source));
    EXPECT_TRUE(store_.list()->empty());
    EXPECT_TRUE(detach(execution, now()));
}

TEST_F(VolumeManagerTest, theSecondOfASizeIsMadeAhead) {
    ASSERT_TRUE(attach(newExecution(), {volume("workspace", 4 * kMiB)}));
    const auto ready = dir_ + "/ready";
    ASSERT_TRUE(waitFor([&] { return fs::exists(ready) && filesIn(ready) == 4; }));
    std::set<ino_t> made;
    for (const auto& entry : fs::directory_iterator(ready))
        made.insert(inode(entry.path()));
    auto execution = newExecution();
    auto attached = attach(execution, {volume("workspace", 4 * kMiB)});
    ASSERT_TRUE(attached);
    EXPECT_TRUE(made.contains(inode(dir_ + "/images/" + attached->at(0).id.str() + ".img")));
    EXPECT_TRUE(fs::is_empty(attached->at(0).source));
    int error = 0;
    EXPECT_GE(fill(attached->at(0).source + "/big", error), 4 * kMiB);
    EXPECT_EQ(error, ENOSPC);
    ASSERT_TRUE(detach(execution, now()));

    // Another size is not taken from it, nor used twice, nor left behind.
    auto other = attach(newExecution(), {persistent("data", 8 * kMiB)});
    ASSERT_TRUE(other);
    EXPECT_GE(fs::file_size(dir_ + "/images/" + other->at(0).id.str() + ".img"), 8 * kMiB);
    ASSERT_TRUE(os::writeFileAtomic(ready + "/left", "by a killed daemon"));
    restart();
    EXPECT_FALSE(fs::exists(ready));
    ASSERT_TRUE(attach(newExecution(), {volume("workspace", 4 * kMiB)}));
    manager_->unmountAll(soon());
    EXPECT_TRUE(!fs::exists(ready) || filesIn(ready) == 0);
}

TEST_F(VolumeManagerTest, askingAgainWritesNothing) {
    auto execution = newExecution();
    auto first = attach(execution, {volume("one", 4 * kMiB), persistent("two", 4 * kMiB)});
    ASSERT_TRUE(first);
    const int puts = store_.puts;
    auto second = attach(execution, {volume("one", 4 * kMiB), persistent("two", 4 * kMiB)});
    ASSERT_TRUE(second);
    ASSERT_EQ(second->size(), 2U);
    EXPECT_EQ(second->at(1).source, first->at(1).source);
    EXPECT_EQ(store_.puts, puts);
    // Somebody took a mount away: it is made again.
    ASSERT_EQ(::umount2(first->at(1).source.c_str(), 0), 0);
    ASSERT_TRUE(attach(execution, {volume("one", 4 * kMiB), persistent("two", 4 * kMiB)}));
    EXPECT_TRUE(*os::isMountPoint(first->at(1).source));
}

TEST_F(VolumeManagerTest, aMountWithoutARowIsNotTakenForTheVolume) {
    auto execution = newExecution();
    auto first = attach(execution, {volume("workspace", 4 * kMiB, 1000)});
    ASSERT_TRUE(first);
    ASSERT_TRUE(os::writeFileAtomic(first->at(0).source + "/old", "text"));
    ASSERT_TRUE(store_.erase(first->at(0).id));
    restart();
    auto second = attach(execution, {volume("workspace", 4 * kMiB, 1000)});
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ(second->at(0).source, first->at(0).source);
    EXPECT_TRUE(fs::is_empty(second->at(0).source));
    ASSERT_TRUE(os::writeFileAtomic(second->at(0).source + "/new", "text"));
    ASSERT_EQ(::umount2(second->at(0).source.c_str(), 0), 0);
    ASSERT_TRUE(attach(execution, {volume("workspace", 4 * kMiB, 1000)}));
    EXPECT_TRUE(fs::exists(second->at(0).source + "/new")) << "the mount was the image's";
}

TEST_F(VolumeManagerTest, aFloodOfFilesEndsAtTheVolumesInodes) {
    auto execution = newExecution();
    auto attached = attach(execution, {volume("workspace", 4 * kMiB)});
    ASSERT_TRUE(attached);
    int made = 0;
    for (; made < 10'000; ++made) {
        os::Fd fd(::open((attached->at(0).source + "/" + std::to_string(made)).c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
        if (!fd) break;
    }
    EXPECT_EQ(errno, ENOSPC);
    EXPECT_GE(made, 900);
    EXPECT_LT(made, 10'000);
    EXPECT_EQ(manager_->full(execution).size(), 1U);
}

TEST_F(VolumeManagerTest, aFullDiskOfTheHostHurtsNobodyElse) {
    manager_.reset();
    ASSERT_TRUE(os::removeTree(dir_));
    ASSERT_TRUE(os::makeDirs(dir_));
    ASSERT_EQ(::mount("none", dir_.c_str(), "tmpfs", 0, "size=12m"), 0);
    restart();
    auto greedy = newExecution(), modest = newExecution();
    auto big = attach(greedy, {volume("workspace", 64 * kMiB)});
    auto small = attach(modest, {volume("workspace", 1 * kMiB, 60'000)});
    ASSERT_TRUE(big && small);
    ASSERT_TRUE(os::writeFileAtomic(small->at(0).source + "/kept", "text"));
    // Half of what was promised, and more than there is.
    os::Fd file(::open((big->at(0).source + "/big").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    auto written = os::writeAll(file.get(), std::string(32 * kMiB, 'x'));
    EXPECT_FALSE(written && ::fsync(file.get()) == 0)
        << "the writer is told, at fsync at the latest";
    file.reset();
    EXPECT_EQ(*os::readFile(small->at(0).source + "/kept", 100), "text");
    // Gone at its end, and with it what filled the disk.
    ASSERT_TRUE(detach(greedy, now()));
    EXPECT_FALSE(hasImage(big->at(0).id));
    ASSERT_TRUE(waitFor([&] { return os::spaceOf(dir_)->available_bytes > 8 * kMiB; }));
    auto next = newExecution();
    EXPECT_TRUE(attach(next, {volume("workspace", 1 * kMiB)}));
    EXPECT_TRUE(detach(next, now()));
    EXPECT_TRUE(detach(modest, now()));
    manager_.reset();
    ASSERT_TRUE(waitFor([&] { return ::umount2(dir_.c_str(), 0) == 0; }));
}

TEST_F(VolumeManagerTest, ttlCountsFromTheEndAndTheSweepDeletes) {
    auto execution = newExecution();
    auto attached = attach(execution, {volume("workspace", 4 * kMiB, 10'000)});
    ASSERT_TRUE(attached);
    auto id = attached->at(0).id;
    UtcTime ended = now();
    ASSERT_TRUE(detach(execution, ended));
    auto record = manager_->get(id);
    ASSERT_TRUE(record);
    EXPECT_FALSE(record->mounted);
    EXPECT_EQ(record->expires_at.ms, ended.ms + 10'000);
    ASSERT_TRUE(manager_->sweep(noOne(), {ended.ms + 9'999}));
    EXPECT_TRUE(hasImage(id));
    ASSERT_TRUE(manager_->sweep(noOne(), {ended.ms + 10'000}));
    EXPECT_FALSE(hasImage(id));
    EXPECT_EQ(manager_->get(id).error().code, ErrorCode::kNotFound);
}

TEST_F(VolumeManagerTest, persistentOnesAreFoundAgainByTheAgent) {
    auto first = newExecution();
    auto attached = attach(first, {persistent("data", 8 * kMiB)});
    ASSERT_TRUE(attached);
    ASSERT_TRUE(os::writeFileAtomic(attached->at(0).source + "/kept", "for ever"));
    EXPECT_EQ(manager_->erase(attached->at(0).id).error().code, ErrorCode::kConflict);
    ASSERT_TRUE(detach(first, now()));
    EXPECT_FALSE(fs::exists(attached->at(0).source));
    ASSERT_TRUE(manager_->sweep(noOne(), {now().ms + 1'000'000'000}));
    EXPECT_GT(manager_->get(attached->at(0).id)->used_bytes, 0U);

    auto again = attach(newExecution(), {persistent("data", 8 * kMiB)});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->at(0).id, attached->at(0).id);
    EXPECT_EQ(*os::readFile(again->at(0).source + "/kept", 100), "for ever");
    agent_ = AgentId::generate(os::systemRandom());
    auto other = attach(newExecution(), {persistent("data", 8 * kMiB)});
    ASSERT_TRUE(other);
    EXPECT_NE(other->at(0).id, attached->at(0).id);
}

TEST_F(VolumeManagerTest, sharedVolumesGoWithTheirLastUser) {
    auto first = newExecution(), second = newExecution();
    auto a = attach(first, {persistent("data", 8 * kMiB)});
    auto b = attach(second, {persistent("data", 8 * kMiB)});
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->at(0).id, b->at(0).id);
    ASSERT_TRUE(detach(second, now()));
    EXPECT_TRUE(*os::isMountPoint(a->at(0).source));
    ASSERT_TRUE(detach(first, now()));
    EXPECT_FALSE(fs::exists(a->at(0).source));
}

TEST_F(VolumeManagerTest, allOrNone) {
    Options capped;
    capped.max_total_bytes = 20 * kMiB;
    restart(capped);
    auto execution = newExecution();
    auto attached = attach(
        execution, {volume("one", 8 * kMiB), volume("two", 8 * kMiB), volume("three", 8 * kMiB)});
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().code, ErrorCode::kStorageFull);
    EXPECT_NE(attached.error().message.find("volume three"), std::string::npos);
    EXPECT_TRUE(store_.list()->empty());
    EXPECT_EQ(filesIn(dir_ + "/mnt"), 0U);
    EXPECT_EQ(filesIn(dir_ + "/images"), 0U);

    store_.refuse = true;
    EXPECT_EQ(attach(execution, {volume("one", 8 * kMiB)}).error().code, ErrorCode::kStorageFull);
    EXPECT_EQ(filesIn(dir_ + "/mnt"), 0U);
    EXPECT_EQ(filesIn(dir_ + "/images"), 0U);
}

TEST_F(VolumeManagerTest, sweepAfterACrashRemovesWhatNobodyOwns) {
    auto dead = newExecution(), live = newExecution();
    auto gone = attach(dead, {volume("workspace", 4 * kMiB, 5'000)});
    auto kept = attach(live, {volume("workspace", 4 * kMiB, 5'000)});
    auto unknown = attach(newExecution(), {volume("workspace", 4 * kMiB, 5'000)});
    ASSERT_TRUE(gone && kept && unknown);
    ASSERT_TRUE(store_.erase(unknown->at(0).id));
    ASSERT_TRUE(os::writeFileAtomic(
        dir_ + "/images/" + VolumeId::generate(os::systemRandom()).str() + ".img.tmp", "half"));
    restart();
    UtcTime at = now();
    ASSERT_TRUE(manager_->sweep({live}, at));
    EXPECT_TRUE(*os::isMountPoint(kept->at(0).source));
    EXPECT_FALSE(fs::exists(gone->at(0).source));
    EXPECT_FALSE(hasImage(unknown->at(0).id));
    EXPECT_EQ(store_.get(gone->at(0).id)->expires_at.ms, at.ms + 5'000);
    EXPECT_EQ(filesIn(dir_ + "/images"), 2U);
    ASSERT_TRUE(manager_->sweep({live}, {at.ms + 5'000}));
    EXPECT_EQ(filesIn(dir_ + "/images"), 1U);
    EXPECT_EQ(filesIn(dir_ + "/mnt"), 1U);
}

TEST_F(VolumeManagerTest, aSweepWithAnOldListSparesFreshOnes) {
    auto execution = newExecution();
    auto attached = attach(execution, {volume("workspace", 4 * kMiB, 0)});
    ASSERT_TRUE(attached);
    ASSERT_TRUE(manager_->sweep(noOne(), now()));
    EXPECT_TRUE(*os::isMountPoint(attached->at(0).source));
}

TEST_F(VolumeManagerTest, aBusyMountIsDetachedLazily) {
    auto execution = newExecution();
    auto attached = attach(execution, {volume("workspace", 4 * kMiB, 0)});
    ASSERT_TRUE(attached);
    auto held = os::openFile(attached->at(0).source, O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(held);
    ASSERT_TRUE(unmountImage(attached->at(0).source, Deadline::in(os::systemClock().boot(), 20)));
    EXPECT_FALSE(*os::isMountPoint(attached->at(0).source));
    EXPECT_TRUE(detach(execution, now()));
}

TEST_F(VolumeManagerTest, fiftyAtOnceLeaveNothingBehind) {
    std::vector<VolumeId> ids;
    std::vector<std::thread> threads;
    std::mutex mutex;
    for (int t = 0; t < 5; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 10; ++i) {
                auto execution = newExecution();
                auto attached = attach(execution, {volume("workspace", 4 * kMiB, 0)});
                ASSERT_TRUE(attached) << attached.error().message;
                ASSERT_TRUE(os::writeFileAtomic(attached->at(0).source + "/f", "x"));
                auto detached = detach(execution, now());
                ASSERT_TRUE(detached) << detached.error().message;
                std::lock_guard lock(mutex);
                ids.push_back(attached->at(0).id);
            }
        });
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), 50U);
    EXPECT_EQ(filesIn(dir_ + "/images"), 0U);
    EXPECT_EQ(filesIn(dir_ + "/mnt"), 0U);
    EXPECT_TRUE(store_.list()->empty());
    manager_.reset();
    EXPECT_EQ(filesIn(dir_ + "/ready"), 0U);
    EXPECT_EQ(os::readFile("/proc/self/mountinfo", 1 << 24)->find(base_), std::string::npos);
    for (const auto& entry : fs::directory_iterator("/sys/block")) {
        auto backing = os::readFile(entry.path().string() + "/loop/backing_file", 8192);
        EXPECT_TRUE(!backing || backing->find(base_) == std::string::npos) << *backing;
    }
}

}  // namespace
}  // namespace aegis::volume
