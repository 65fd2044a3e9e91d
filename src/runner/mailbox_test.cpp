#include "runner/mailbox.h"

#include <gtest/gtest.h>

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
    core.runHere(box, [&] {
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
    EXPECT_EQ(first, here);
    EXPECT_NE(second, here);
    EXPECT_EQ(order, (Order{1, 2}));
}

TEST(CoreThreads, AJobWaitsInLineWhileItsActorIsBusy) {
    CoreThreads core(1);
    auto box = core.open(0);
    std::promise<void> entered, leave, done;
    std::thread::id ran_on;
    Order order;
    core.postUrgent(box, [&] {
        entered.set_value();
        leave.get_future().wait();
        order.push_back(1);
    });
    entered.get_future().wait();
    core.runHere(box, [&] {
        ran_on = std::this_thread::get_id();
        order.push_back(2);
        done.set_value();
    });
    leave.set_value();
    done.get_future().wait();
    EXPECT_NE(ran_on, std::this_thread::get_id());
    EXPECT_EQ(order, (Order{1, 2}));
}

TEST(CoreThreads, StoppedMeanwhileTheyDropWhatWaitedForAJobHere) {
    CoreThreads core(1);
    auto box = core.open(0);
    auto held = std::make_shared<int>(0);
    core.runHere(box, [&] {
        core.postUrgent(box, [held] { ++*held; });
        core.stop();
    });
    EXPECT_EQ(*held, 0);
    EXPECT_EQ(held.use_count(), 1) << "the job is gone";
    core.runHere(box, [held] { ++*held; });
    EXPECT_EQ(*held, 0) << "nothing runs any more";
}

}  // namespace
}  // namespace aegis::runner
