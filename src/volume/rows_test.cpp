// Rows of volumes that are written soon, and what a daemon leaves that dies before they are.

#include "volume/manager_fixture_for_test.h"

namespace aegis::volume {
namespace {

TEST_F(VolumeManagerTest, nothingWaitsForTheRowOfAnEphemeralVolume) {
    store_.slow = true;
    auto execution = newExecution();
    auto first = attach(execution, {volume("one", 4 * kMiB)});
    ASSERT_TRUE(first);
    EXPECT_FALSE(store_.get(first->at(0).id)) << "it is written soon";
    // No sweep takes it, and it is found again.
    ASSERT_TRUE(manager_->sweep({execution}, now()));
    ASSERT_TRUE(os::writeFileAtomic(first->at(0).source + "/kept", "x"));
    ASSERT_EQ(::umount2(first->at(0).source.c_str(), 0), 0);
    auto again = attach(execution, {volume("one", 4 * kMiB)});
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_TRUE(fs::exists(again->at(0).source + "/kept"));
    // Removed while its row is under way: no row comes after.
    ASSERT_TRUE(detach(execution, now()));
    EXPECT_FALSE(hasImage(first->at(0).id));
    EXPECT_FALSE(fs::exists(first->at(0).source));
    store_.writeWaiting();
    EXPECT_TRUE(store_.list()->empty());

    // One that is kept for a time has its row at the end.
    auto other = newExecution();
    auto kept = attach(other, {volume("two", 4 * kMiB, 5'000)});
    ASSERT_TRUE(kept);
    ASSERT_TRUE(detach(other, UtcTime{1'000}));
    EXPECT_EQ(store_.get(kept->at(0).id)->expires_at.ms, 6'000);
    EXPECT_FALSE(store_.get(kept->at(0).id)->mounted);
}

TEST_F(VolumeManagerTest, aDaemonThatDiesBeforeTheRowIsWrittenMakesTheVolumeAnew) {
    store_.slow = true;
    auto execution = newExecution();
    auto lost = attach(execution, {volume("one", 4 * kMiB)});
    ASSERT_TRUE(lost);
    ASSERT_TRUE(os::writeFileAtomic(lost->at(0).source + "/lost", "x"));
    store_.forgetWaiting();
    restart();
    auto attached = attach(execution, {volume("one", 4 * kMiB)});
    ASSERT_TRUE(attached) << attached.error().message;
    EXPECT_EQ(attached->at(0).id, lost->at(0).id);
    EXPECT_TRUE(fs::is_empty(attached->at(0).source));
    ASSERT_TRUE(detach(execution, now()));
    EXPECT_EQ(filesIn(dir_ + "/mnt"), 0U);
    EXPECT_EQ(filesIn(dir_ + "/images"), 0U);
}

TEST_F(VolumeManagerTest, aRowThatCannotBeWrittenIsToldToWhoeverAsksNext) {
    store_.slow = true;
    store_.refuse = true;
    auto execution = newExecution();
    ASSERT_TRUE(attach(execution, {volume("one", 4 * kMiB)}));
    store_.writeWaiting();
    auto again = attach(execution, {volume("one", 4 * kMiB)});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, ErrorCode::kStorageFull);
    ASSERT_TRUE(detach(execution, now()));
    EXPECT_EQ(filesIn(dir_ + "/images"), 0U);
}

TEST_F(VolumeManagerTest, aDaemonThatDiesBeforeTheEndIsWrittenRemovesWhatIsLeft) {
    store_.slow = true;
    for (bool still_live : {true, false}) {
        auto execution = newExecution();
        auto attached = attach(execution, {volume("one", 4 * kMiB)});
        ASSERT_TRUE(attached);
        store_.writeWaiting();
        ASSERT_TRUE(detach(execution, now()));
        store_.forgetWaiting();
        ASSERT_TRUE(store_.get(attached->at(0).id)) << "a row whose image is gone";
        restart();
        if (still_live) {
            // Its end was not committed: recovery asks again.
            ASSERT_TRUE(manager_->sweep({execution}, now()));
            ASSERT_TRUE(store_.get(attached->at(0).id));
            ASSERT_TRUE(detach(execution, now()));
        } else {
            ASSERT_TRUE(manager_->sweep(noOne(), now()));
        }
        store_.writeWaiting();
        EXPECT_TRUE(store_.list()->empty());
        EXPECT_EQ(filesIn(dir_ + "/mnt"), 0U);
        EXPECT_EQ(filesIn(dir_ + "/images"), 0U);
    }
}

TEST_F(VolumeManagerTest, whatIsNotWrittenYetCountsAtTheCapAndAtAStop) {
    Options capped;
    capped.max_total_bytes = 12 * kMiB;
    restart(capped);
    store_.slow = true;
    auto execution = newExecution();
    auto attached = attach(execution, {volume("one", 8 * kMiB)});
    ASSERT_TRUE(attached);
    ASSERT_FALSE(store_.get(attached->at(0).id));
    EXPECT_EQ(attach(newExecution(), {volume("two", 8 * kMiB)}).error().code,
              ErrorCode::kStorageFull);
    ASSERT_TRUE(os::writeFileAtomic(attached->at(0).source + "/kept", "x"));
    manager_->unmountAll(soon());
    EXPECT_FALSE(*os::isMountPoint(attached->at(0).source));
    store_.writeWaiting();
    restart();
    ASSERT_TRUE(manager_->sweep({execution}, now()));
    auto again = attach(execution, {volume("one", 8 * kMiB)});
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_TRUE(fs::exists(again->at(0).source + "/kept"));
}

}  // namespace
}  // namespace aegis::volume
