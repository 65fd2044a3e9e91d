#include "models/timers.h"

#include <gtest/gtest.h>

#include <future>

namespace aegis::models {
namespace {

TEST(TimerThread, RunsInOrderOfTimeAndForgetsTheCancelled) {
    std::string order;
    std::promise<void> last;
    {
        TimerThread timers;
        timers.after(30, [&] {
            order += 'c';
            last.set_value();
        });
        timers.after(5, [&] { order += 'b'; });
        timers.cancel(timers.after(10, [&] { order += 'x'; }));
        timers.after(0, [&] { order += 'a'; });
        timers.after(60'000, [&] { order += 'y'; });
        timers.cancel(999);
        last.get_future().wait();
    }
    EXPECT_EQ(order, "abc");
}

TEST(TimerThread, ATimerMaySetAnother) {
    std::promise<void> second;
    TimerThread timers;
    timers.after(0, [&] { timers.after(0, [&] { second.set_value(); }); });
    EXPECT_EQ(second.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

}  // namespace
}  // namespace aegis::models
