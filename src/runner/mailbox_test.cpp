#include "runner/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace aegis::runner {
namespace {

using Order = std::vector<int>;

TEST(CoreThreads, AJobRunsHereWhileItsActorIsIdle) {
    CoreThreads core(2);
    auto box = core.open(1);
    auto here = std::this_thread::get_id();
    std::thread::id first, second;
    std::promise<void> done;
    Order order;
    bool ran = core.runHere(box, [&] {
        first = std::this_thread::get_id();
        // Not before this one has ended, whatever thread it is on.
        core.postUrgent(box, [&] {
            second = std::this_thread::get_id();
            order.push_back(2);
            done.set_value();
        });
        order.push_back(1);
    });
    done.get_future().wait();
    EXPECT_TRUE(ran);
    EXPECT_EQ(first, here);
    EXPECT_NE(second, here);
    EXPECT_EQ(order, (Order{1, 2}));
}

TEST(CoreThreads, WhatFollowsAJobHereRunsHereTooUpToANumber) {
    CoreThreads core(1);
    auto box = core.open(0);
    auto here = std::this_thread::get_id();
    std::vector<bool> on_this_thread;
    std::promise<void> all;
    EXPECT_TRUE(core.runHere(
        box,
        [&] {
            core.post(box, [&] { all.set_value(); });
            for (int i = 0; i < 3; ++i) {
                core.postUrgent(
                    box, [&] { on_this_thread.push_back(std::this_thread::get_id() == here); });
            }
        },
        2));
    all.get_future().wait();
    EXPECT_EQ(on_this_thread, (std::vector<bool>{true, true, false}));
}

TEST(CoreThreads, NoJobRunsHereWhileItsActorIsBusy) {
    CoreThreads core(1);
    auto box = core.open(0);
    std::promise<void> entered, leave, left;
    core.postUrgent(box, [&] {
        entered.set_value();
        leave.get_future().wait();
    });
    entered.get_future().wait();
    EXPECT_FALSE(core.runHere(box, [] { ADD_FAILURE() << "two of one actor at once"; }));
    EXPECT_TRUE(core.runHere(core.open(0), [&] { leave.set_value(); })) << "another actor's";
    core.postUrgent(box, [&] { left.set_value(); });
    left.get_future().wait();
}

TEST(CoreThreads, StoppedMeanwhileTheyDropWhatWaitedForAJobHere) {
    CoreThreads core(1);
    auto box = core.open(0);
    auto held = std::make_shared<int>(0);
    EXPECT_TRUE(core.runHere(box, [&] {
        core.postUrgent(box, [held] { ++*held; });
        core.stop();
    }));
    EXPECT_EQ(*held, 0);
    EXPECT_EQ(held.use_count(), 1) << "the job is gone";
    EXPECT_FALSE(core.runHere(box, [held] { ++*held; })) << "nothing runs any more";
}

TEST(CoreThreads, StoppingWaitsForAJobOnAnotherThread) {
    CoreThreads core(1);
    auto box = core.open(0);
    std::promise<void> entered, leave;
    std::atomic<bool> left = false;
    std::thread asks([&] {
        EXPECT_TRUE(core.runHere(box, [&] {
            entered.set_value();
            leave.get_future().wait();
            left = true;
        }));
    });
    entered.get_future().wait();
    std::thread lets([&] { leave.set_value(); });
    core.stop();
    EXPECT_TRUE(left);
    asks.join();
    lets.join();
}

TEST(CoreThreads, JobsHereAndThereAreOneAtATime) {
    constexpr int kJobs = 2000;
    CoreThreads core(2);
    auto box = core.open(1);
    int sum = 0;  // no atomic: a job sees what the one before it did
    std::promise<void> all;
    auto add = [&] {
        if (++sum == 3 * kJobs) all.set_value();
    };
    auto ask = [&] {
        for (int i = 0; i < kJobs; ++i)
            if (!core.runHere(box, add)) core.postUrgent(box, add);
    };
    std::thread a(ask), b(ask);
    ask();
    a.join();
    b.join();
    all.get_future().wait();
    EXPECT_EQ(sum, 3 * kJobs);
}

}  // namespace
}  // namespace aegis::runner
