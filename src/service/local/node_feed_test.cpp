#include "service/local/node_feed.h"

#include <gtest/gtest.h>

#include <charconv>
#include <condition_variable>
#include <set>
#include <thread>

#include "runner/fake_ports_for_test.h"

namespace aegis::service {
namespace {

/// A journal of nothing but the node's events; event n has the cursor "n".
class EventsOnly : public runner::FakeJournal {
  public:
    void add(std::string agent, std::string type) {
        std::lock_guard lock(mutex_);
        ports::NodeEvent event;
        event.order = static_cast<std::int64_t>(events_.size()) + 1;
        event.cursor = std::to_string(event.order);
        event.time = {event.order * 1000};
        event.agent_name = std::move(agent);
        event.event["type"] = type;
        events_.push_back(std::move(event));
    }

    Result<ports::NodeEventPage> nodeEvents(const ports::NodeEventFilter& filter) override {
        std::lock_guard lock(mutex_);
        ++reads;
        if (broken) return {ErrorCode::kIo, "gone"};
        std::size_t after = 0;
        std::from_chars(filter.cursor.data(), filter.cursor.data() + filter.cursor.size(), after);
        ports::NodeEventPage page;
        page.order = static_cast<std::int64_t>(events_.size());
        for (std::size_t i = after; i < events_.size(); ++i) {
            const auto& event = events_[i];
            if (!filter.agent.empty() && filter.agent != event.agent_name) continue;
            auto type = std::string(json::view(event.event.at("type").as_string()));
            if (!filter.types.empty() &&
                std::ranges::find(filter.types, type) == filter.types.end())
                continue;
            if (filter.since && event.time < *filter.since) continue;
            page.events.push_back(event);
            page.order = event.order;
            if (page.events.size() == filter.limit) break;
        }
        if (page.events.size() < filter.limit)
            page.order = static_cast<std::int64_t>(events_.size());
        page.cursor = std::to_string(page.order);
        return page;
    }

    std::atomic<int> reads = 0;
    std::atomic<bool> broken = false;

  private:
    std::mutex mutex_;
    std::vector<ports::NodeEvent> events_;
};

/// What a watcher got.
class Seen {
  public:
    NodeFeed::Watcher watcher(std::size_t most = SIZE_MAX) {
        return {[this, most](const NodeEventTextPtr& event) {
                    std::lock_guard lock(mutex_);
                    cursors_.push_back(event->cursor);
                    wake_.notify_all();
                    return cursors_.size() < most;
                },
                [this](const Error&) {
                    std::lock_guard lock(mutex_);
                    failed_ = true;
                    wake_.notify_all();
                }};
    }
    std::vector<std::string> wait(std::size_t count) {
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, std::chrono::seconds(20), [&] { return cursors_.size() >= count; });
        return cursors_;
    }
    bool waitFailed() {
        std::unique_lock lock(mutex_);
        return wake_.wait_for(lock, std::chrono::seconds(20), [&] { return failed_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::string> cursors_;
    bool failed_ = false;
};

std::vector<std::string> upTo(int last, int first = 1) {
    std::vector<std::string> out;
    for (int i = first; i <= last; ++i)
        out.push_back(std::to_string(i));
    return out;
}

TEST(NodeFeed, StoredOnesThenLiveOnes) {
    EventsOnly journal;
    for (int i = 0; i < 1200; ++i)
        journal.add("a", "Old");
    NodeFeed feed(journal);
    Seen seen;
    feed.subscribe({}, seen.watcher());
    for (int i = 0; i < 5; ++i) {
        journal.add("a", "New");
        feed.poke();
    }
    EXPECT_EQ(seen.wait(1205), upTo(1205));
}

TEST(NodeFeed, NoneSkippedOrRepeatedWhileManyCome) {
    EventsOnly journal;
    NodeFeed feed(journal);
    Seen early, late, filtered;
    feed.subscribe({}, early.watcher());
    constexpr int kEach = 2000;
    std::thread writer([&] {
        for (int i = 0; i < kEach; ++i) {
            journal.add(i % 2 == 0 ? "even" : "odd", "T");
            feed.poke();
        }
    });
    auto some = early.wait(100);
    feed.subscribe({.cursor = some.back()}, late.watcher());
    feed.subscribe({.agent = "odd"}, filtered.watcher());
    writer.join();
    EXPECT_EQ(early.wait(kEach), upTo(kEach));
    auto from = std::stoi(some.back());
    EXPECT_EQ(late.wait(static_cast<std::size_t>(kEach - from)), upTo(kEach, from + 1));
    auto odd = filtered.wait(kEach / 2);
    ASSERT_EQ(odd.size(), std::size_t(kEach / 2));
    for (std::size_t i = 0; i < odd.size(); ++i)
        EXPECT_EQ(odd[i], std::to_string(2 * i + 2));
}

TEST(NodeFeed, FiltersLiveAsTheJournalDoes) {
    EventsOnly journal;
    NodeFeed feed(journal);
    Seen types, since;
    feed.subscribe({.types = {"B", "C"}}, types.watcher());
    feed.subscribe({.since = UtcTime{3000}}, since.watcher());
    for (const char* type : {"A", "B", "A", "C"}) {
        journal.add("x", type);
        feed.poke();
    }
    EXPECT_EQ(types.wait(2), (std::vector<std::string>{"2", "4"}));
    EXPECT_EQ(since.wait(2), (std::vector<std::string>{"3", "4"}));
}

TEST(NodeFeed, EndsWhenAsked) {
    EventsOnly journal;
    NodeFeed feed(journal);
    Seen two, gone, rest;
    feed.subscribe({}, two.watcher(2));
    auto subscription = feed.subscribe({}, gone.watcher());
    feed.unsubscribe(subscription);
    feed.subscribe({}, rest.watcher());
    for (int i = 0; i < 10; ++i) {
        journal.add("x", "A");
        feed.poke();
    }
    EXPECT_EQ(rest.wait(10).size(), 10U);
    EXPECT_EQ(two.wait(2).size(), 2U);
    EXPECT_EQ(gone.wait(0).size(), 0U);
}

TEST(NodeFeed, ReadsNothingUnlessWatched) {
    EventsOnly journal;
    NodeFeed feed(journal);
    for (int i = 0; i < 100; ++i)
        feed.poke();
    EXPECT_EQ(journal.reads, 0);
}

TEST(NodeFeed, TellsOfAJournalThatCannotBeRead) {
    EventsOnly journal;
    NodeFeed feed(journal);
    Seen seen;
    feed.subscribe({}, seen.watcher());
    journal.add("x", "A");
    feed.poke();
    EXPECT_EQ(seen.wait(1).size(), 1U);
    journal.broken = true;
    feed.poke();
    EXPECT_TRUE(seen.waitFailed());
}

TEST(NodeFeed, TheTextHasCursorAndAgent) {
    ports::NodeEvent event;
    event.cursor = "n7";
    event.agent_name = "coder";
    event.event["type"] = "AgentPaused";
    auto text = encodeNodeEvent(event);
    EXPECT_EQ(text->json, R"({"type":"AgentPaused","agent_name":"coder","cursor":"n7"})");
    EXPECT_EQ(text->sse, "id: n7\ndata: " + text->json + "\n\n");
}

}  // namespace
}  // namespace aegis::service
