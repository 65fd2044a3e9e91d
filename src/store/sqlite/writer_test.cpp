// Whose thread writes.

#include <gtest/gtest.h>

#include <thread>

#include "store/sqlite/store_test_util.h"

namespace aegis::store {
namespace {

/// Appends; the thread that told.
std::thread::id teller(ports::Journal& journal, ports::Batch batch, bool may_block) {
    batch.may_block = may_block;
    std::promise<std::thread::id> promise;
    auto told = promise.get_future();
    journal.append(std::move(batch), [&promise](const Status& s) {
        EXPECT_TRUE(s);
        promise.set_value(std::this_thread::get_id());
    });
    return told.get();
}

TEST(Writer, ACallerThatMayBlockWritesWhatIsAloneItself) {
    constexpr std::uint64_t kTries = 10'000;  // the thread may still be at what came before
    TempDir dir;
    auto store = openStore(dir.path());
    auto& journal = store->journal();
    auto id = newId();
    auto here = std::this_thread::get_id();
    EXPECT_NE(teller(journal, firstBatch(id), false), here);
    std::uint64_t seq = 1;
    while (seq < kTries && teller(journal, nextBatch(id, seq), true) != here)
        ++seq;
    EXPECT_LT(seq, kTries);
    EXPECT_NE(teller(journal, nextBatch(id, seq + 1), false), here);
    store.reset();
    store = openStore(dir.path());
    EXPECT_TRUE(store->verify(id));
    EXPECT_EQ(store->journal().events(id, 0, 2 * kTries)->size(), seq + 2);
}

TEST(Writer, ManyThreadsThatMayBlockAreOneAtATimeAndInOrder) {
    constexpr int kThreads = 6;
    constexpr std::uint64_t kEach = 150;
    TempDir dir;
    auto store = openStore(dir.path());
    auto& journal = store->journal();
    std::size_t seen = 0;  // no atomic: one observer's call sees what the one before it did
    std::map<ExecutionId, std::uint64_t> last;
    journal.observe([&](const ExecutionId& id, const AgentId&,
                        const std::vector<execution::Event>& events) {
        for (const auto& e : events) {
            EXPECT_EQ(e.seq, last[id] + 1);
            last[id] = e.seq;
            ++seen;
        }
    });
    auto work = [&](int number) {
        auto id = newId();
        EXPECT_TRUE(append(journal, firstBatch(id)));
        for (std::uint64_t seq = 1; seq < kEach; ++seq) {
            auto batch = nextBatch(id, seq);
            batch.may_block = (seq + static_cast<std::uint64_t>(number)) % 3 != 0;
            if (seq % 5 == 0) batch.durability = execution::Durability::kSoon;
            auto done = appendAsync(journal, std::move(batch));
            if (seq % 5 == 0) continue;
            EXPECT_TRUE(done.get());
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
        threads.emplace_back(work, i);
    for (auto& thread : threads)
        thread.join();
    journal.unobserve();
    EXPECT_EQ(seen, kThreads * kEach);
    for (const auto& [id, seq] : last)
        EXPECT_TRUE(store->verify(id));
}

}  // namespace
}  // namespace aegis::store
