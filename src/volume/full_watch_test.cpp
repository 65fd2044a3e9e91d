#include "volume/full_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <vector>

#include "os/clock.h"

namespace aegis::volume {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

os::Space space(std::uint64_t available, std::uint64_t inodes = 100) {
    return {4096, 64 * kMiB, available, available, inodes};
}

TEST(FullWatch, WhatIsFull) {
    EXPECT_FALSE(isFull(space(2 * kMiB)));
    EXPECT_TRUE(isFull(space(kMiB - 1)));
    EXPECT_TRUE(isFull(space(32 * kMiB, 0)));
}

TEST(FullWatch, WhatFillsIsLookedAtBeforeItCanBeFull) {
    EXPECT_EQ(nextLookMs(space(256 * kMiB), true, 5), 250);
    EXPECT_EQ(nextLookMs(space(2 * kMiB), true, 1000), 5);
    EXPECT_EQ(nextLookMs(space(64 << 10), true, 5), 5);
}

TEST(FullWatch, WhatRestsIsLookedAtEverLess) {
    EXPECT_EQ(nextLookMs(space(32 * kMiB), false, 5), 10);
    EXPECT_EQ(nextLookMs(space(32 * kMiB), false, 700), 1000);
    EXPECT_EQ(nextLookMs(space(32 * kMiB), false, 1000), 1000);
}

/// A small file system that is really there.
class MountedTest : public ::testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/aegis-full-watch-XXXXXX";
        dir_ = ::mkdtemp(name);
        if (::mount("tmpfs", dir_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=8m") != 0)
            GTEST_SKIP() << "cannot mount here";
        record_.id = VolumeId::generate(os::systemRandom());
        watch_.tell([this](const ExecutionId& execution, const ports::VolumeRecord& record) {
            std::lock_guard lock(mutex_);
            told_.emplace_back(execution, record.id);
            wake_.notify_all();
        });
    }
    void TearDown() override {
        watch_.tell({});
        ::umount2(dir_.c_str(), MNT_DETACH);
        std::filesystem::remove(dir_);
    }
    void fill() {
        std::ofstream file(dir_ + "/f", std::ios::binary);
        const std::string piece(kMiB, 'x');
        for (int i = 0; i < 9; ++i)
            file.write(piece.data(), static_cast<long>(piece.size()));
    }
    bool awaitTold(std::size_t count) {
        std::unique_lock lock(mutex_);
        return wake_.wait_for(lock, std::chrono::seconds(20),
                              [&] { return told_.size() >= count; });
    }

    std::string dir_;
    ports::VolumeRecord record_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::pair<ExecutionId, VolumeId>> told_;
    FullWatch watch_{os::systemClock()};
};

TEST_F(MountedTest, FullIsToldOnceToWhoeverUsesIt) {
    const auto one = ExecutionId::generate(os::systemRandom());
    const auto other = ExecutionId::generate(os::systemRandom());
    watch_.add(one, record_, dir_);
    fill();
    ASSERT_TRUE(awaitTold(1));
    watch_.add(other, record_, dir_);
    ASSERT_TRUE(awaitTold(2));
    watch_.expect(one);
    std::lock_guard lock(mutex_);
    ASSERT_EQ(told_.size(), 2U);
    EXPECT_EQ(told_[0], std::pair(one, record_.id));
    EXPECT_EQ(told_[1], std::pair(other, record_.id));
}

TEST_F(MountedTest, NobodyIsToldOfWhatIsNotUsedAnyMore) {
    const auto gone = ExecutionId::generate(os::systemRandom());
    const auto stays = ExecutionId::generate(os::systemRandom());
    watch_.add(gone, record_, dir_);
    watch_.remove(gone, record_.id);
    fill();
    watch_.add(stays, record_, dir_);
    ASSERT_TRUE(awaitTold(1));
    std::lock_guard lock(mutex_);
    EXPECT_EQ(told_[0].first, stays);
}

}  // namespace
}  // namespace aegis::volume
