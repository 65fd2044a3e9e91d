#include "os/timers.h"

#include <gtest/gtest.h>

#include <future>

#include "os/clock.h"

namespace aegis::os {
namespace {

TEST(Timers, RunInOrderOfTimeAndForgetTheCancelled) {
    std::string order;
    std::promise<void> last;
    Timers timers(systemClock());
    timers.in(30, [&] {
        order += 'c';
        last.set_value();
    });
    timers.in(5, [&] { order += 'b'; });
    timers.cancel(timers.in(10, [&] { order += 'x'; }));
    timers.in(0, [&] { order += 'a'; });
    timers.in(60'000, [&] { order += 'y'; });
    timers.cancel(999);
    last.get_future().wait();
    timers.stop();
    EXPECT_EQ(order, "abc");
}

TEST(Timers, OneMaySetAnother) {
    std::promise<void> second;
    Timers timers(systemClock());
    timers.in(0, [&] { timers.in(0, [&] { second.set_value(); }); });
    EXPECT_EQ(second.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

TEST(Timers, WhatWaitsAtTheEndRunsWhereThatIsWanted) {
    int dropped = 0;
    int ran = 0;
    {
        Timers drop(systemClock());
        Timers run(systemClock(), Timers::AtEnd::kRun);
        drop.in(60'000, [&] { ++dropped; });
        run.in(60'000, [&] { ++ran; });
        run.stop();
        run.in(60'000, [&] { ++ran; });
    }
    EXPECT_EQ(dropped, 0);
    EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace aegis::os
