#include "service/local/event_hub.h"

#include <gtest/gtest.h>

#include <future>

#include "os/clock.h"

namespace aegis::service {
namespace {

std::vector<execution::Event> events(std::uint64_t first, std::size_t count) {
    std::vector<execution::Event> out;
    for (std::size_t i = 0; i < count; ++i) {
        execution::Event e{first + i, {1'700'000'000'000}, 1, 0, 0, {}};
        e.data = execution::CancelRequested{"test"};
        out.push_back(std::move(e));
    }
    return out;
}

const auto kAgent = AgentId::generate(os::systemRandom());
const auto kOne = ExecutionId::generate(os::systemRandom());
const auto kOther = ExecutionId::generate(os::systemRandom());

TEST(EventHub, WhoPublishesDoesNotWaitForWatchers) {
    EventHub hub;
    std::promise<void> entered, leave, seen;
    auto waits = hub.subscribe(kOne, [&](const EncodedEventPtr& event) {
        if (event->seq == 1) {
            entered.set_value();
            leave.get_future().wait();
        }
        if (event->seq == 4) seen.set_value();
    });
    hub.publish(kOne, kAgent, events(1, 2));
    entered.get_future().wait();
    hub.publish(kOne, kAgent, events(3, 2));
    hub.publish(kOther, kAgent, events(1, 2));
    leave.set_value();
    seen.get_future().wait();
    hub.unsubscribe(waits);
}

TEST(EventHub, EachWatcherSeesItsExecutionsEventsInOrderAndNoneAfterItLeft) {
    constexpr std::uint64_t kBatches = 3000;  // more than may wait
    EventHub hub;
    std::map<int, std::vector<std::uint64_t>> seen;  // the hub's thread
    std::promise<void> last;
    std::vector<EventHub::Subscription> all;
    for (int n = 0; n < 3; ++n) {
        all.push_back(hub.subscribe(n == 2 ? kOther : kOne, [&, n](const EncodedEventPtr& event) {
            seen[n].push_back(event->seq);
            if (n == 2) last.set_value();
        }));
    }
    for (std::uint64_t n = 0; n < kBatches; ++n)
        hub.publish(kOne, kAgent, events(2 * n + 1, 2));
    hub.publish(kOther, kAgent, events(1, 1));
    last.get_future().wait();
    for (auto subscription : all)
        hub.unsubscribe(subscription);
    hub.publish(kOne, kAgent, events(2 * kBatches + 1, 1));
    std::vector<std::uint64_t> expected(2 * kBatches);
    for (std::size_t i = 0; i < expected.size(); ++i)
        expected[i] = i + 1;
    EXPECT_EQ(seen[0], expected);
    EXPECT_EQ(seen[1], expected);
    EXPECT_EQ(seen[2].size(), 1U);
}

TEST(EventHub, AnEventIsEncodedOnceForAll) {
    EventHub hub;
    std::vector<EncodedEventPtr> seen;
    std::promise<void> both;
    auto take = [&](const EncodedEventPtr& event) {
        seen.push_back(event);
        if (seen.size() == 2) both.set_value();
    };
    auto a = hub.subscribe(kOne, take), b = hub.subscribe(kOne, take);
    hub.publish(kOne, kAgent, events(7, 1));
    both.get_future().wait();
    hub.unsubscribe(a);
    hub.unsubscribe(b);
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[0], seen[1]);
    EXPECT_EQ(seen[0]->json, json::dump(execution::toJson(events(7, 1)[0], kOne, kAgent)));
    EXPECT_EQ(seen[0]->sse, "id: 7\ndata: " + seen[0]->json + "\n\n");
}

}  // namespace
}  // namespace aegis::service
