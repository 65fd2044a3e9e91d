#include "runner/scheduler.h"

#include <gtest/gtest.h>

#include "os/clock.h"
#include "runner/guest_call.h"
#include "runner/mailbox.h"

namespace aegis::runner {
namespace {

ExecutionId newId() { return ExecutionId::generate(os::systemRandom()); }

class SchedulerTest : public testing::Test {
  protected:
    ExecutionId ask(Scheduler& scheduler, std::vector<std::string> locks, char name) {
        auto id = newId();
        scheduler.request(id, std::move(locks), [this, name](UtcTime) { order += name; });
        return id;
    }
    std::string order;
};

TEST_F(SchedulerTest, TheOrderOfArrivalCountsNotThatOfAsking) {
    Scheduler scheduler(1, os::systemClock());
    scheduler.open();
    auto a = newId(), b = newId(), c = newId();
    for (const auto& id : {a, b, c}) scheduler.arrive(id);
    auto asks = [&](const ExecutionId& id, char name) {
        scheduler.request(id, {}, [this, name](UtcTime) { order += name; });
    };
    asks(c, 'c');
    asks(b, 'b');
    EXPECT_EQ(order, "") << "a has arrived before them and is about to ask";
    asks(a, 'a');
    EXPECT_EQ(order, "a");
    scheduler.release(a);
    scheduler.release(b);
    EXPECT_EQ(order, "abc");
    scheduler.release(c);

    auto gone = newId(), next = newId();
    scheduler.arrive(gone);
    scheduler.arrive(next);
    asks(next, 'n');
    EXPECT_EQ(order, "abc");
    scheduler.release(gone);
    EXPECT_EQ(order, "abcn") << "one that was cancelled before it asked holds up nobody";
}

TEST_F(SchedulerTest, FirstComeFirstServedWithinTheLimit) {
    Scheduler scheduler(2, os::systemClock());
    auto a = ask(scheduler, {}, 'a');
    auto b = ask(scheduler, {}, 'b');
    ask(scheduler, {}, 'c');
    ask(scheduler, {}, 'd');
    EXPECT_EQ(order, "") << "nothing before recovery is over";
    scheduler.open();
    EXPECT_EQ(order, "ab");
    EXPECT_EQ(scheduler.queued(), 2U);
    scheduler.release(b);
    EXPECT_EQ(order, "abc");
    scheduler.release(a);
    EXPECT_EQ(order, "abcd");
    EXPECT_EQ(scheduler.running(), 2U);
    scheduler.release(newId());
    EXPECT_EQ(scheduler.running(), 2U);
}

TEST_F(SchedulerTest, ALockIsHeldByOneInOrderAndHoldsUpNobodyElse) {
    Scheduler scheduler(10, os::systemClock());
    scheduler.open();
    auto a = ask(scheduler, {"v"}, 'a');
    auto b = ask(scheduler, {"v"}, 'b');
    ask(scheduler, {"v", "w"}, 'c');
    ask(scheduler, {"w"}, 'd');
    ask(scheduler, {}, 'e');
    EXPECT_EQ(order, "ae") << "d must not overtake c on w";
    scheduler.release(a);
    EXPECT_EQ(order, "aeb");
    scheduler.release(b);
    EXPECT_EQ(order, "aebc");
}

TEST_F(SchedulerTest, LeavingTheQueueAndAdoption) {
    Scheduler scheduler(1, os::systemClock());
    auto running = newId();
    scheduler.adopt(running, {"v"});
    scheduler.open();
    auto gone = ask(scheduler, {}, 'x');
    ask(scheduler, {"v"}, 'y');
    scheduler.release(gone);
    EXPECT_EQ(order, "");
    scheduler.release(running);
    EXPECT_EQ(order, "y");
    scheduler.setLimit(2);
    ask(scheduler, {}, 'z');
    EXPECT_EQ(order, "yz");
}

TEST(Mailbox, UrgentFirstBoundedAndOneAtATime) {
    CoreThreads threads(2);
    auto box = threads.open(7);
    std::mutex gate;
    std::condition_variable done;
    bool ended = false;
    std::string order;
    gate.lock();
    threads.post(box, [&] { std::lock_guard hold(gate); });
    std::size_t taken = 0;
    while (threads.post(box, [&] { order += 'n'; }))
        ++taken;
    EXPECT_LE(taken, CoreThreads::Mailbox::kCapacity + 1);
    EXPECT_TRUE(threads.postUrgent(box, [&] { order += 'u'; }));
    gate.unlock();
    std::mutex mutex;
    std::unique_lock lock(mutex);
    auto last = [&] {
        std::lock_guard inner(mutex);
        ended = true;
        done.notify_all();
    };
    while (!threads.post(box, last)) {
    }
    done.wait(lock, [&] { return ended; });
    EXPECT_EQ(order, "u" + std::string(taken, 'n'));
    threads.stop();
    EXPECT_FALSE(threads.postUrgent(box, [] {}));
}

TEST(GuestCall, DeltasThenOneClosingMessage) {
    auto& clock = os::systemClock();
    auto soon = Deadline::in(clock.boot(), 10'000);
    GuestCall call;
    GuestMessage delta;
    delta.kind = GuestMessage::Kind::kDelta;
    delta.content = "a";
    call.push(delta);
    GuestMessage final_message;
    final_message.kind = GuestMessage::Kind::kFinal;
    final_message.content = "all";
    call.push(final_message);
    call.fail("late", "too late", false);
    EXPECT_EQ(call.next(soon, clock)->content, "a");
    EXPECT_EQ(call.next(soon, clock)->content, "all");
    EXPECT_FALSE(call.next(soon, clock));
    EXPECT_FALSE(call.open());
    GuestCall silent;
    EXPECT_FALSE(silent.next(Deadline::in(clock.boot(), 0), clock));
    EXPECT_TRUE(silent.open());
}

}  // namespace
}  // namespace aegis::runner
