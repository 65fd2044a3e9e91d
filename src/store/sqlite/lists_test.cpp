#include <gtest/gtest.h>
#include <algorithm>
#include <chrono>
#include <set>

#include "store/sqlite/sqlite.h"
#include "store/sqlite/store_test_util.h"

namespace aegis::store {
namespace {

using execution::Status;

class ListsTest : public ::testing::Test {
  protected:
    ports::Journal& journal() { return store_->journal(); }

    TempDir dir_;
    std::unique_ptr<Store> store_ = openStore(dir_.path());
};

bool matches(const ports::ExecutionRow& row, const ports::ExecutionFilter& f) {
    if (!f.agent.empty() && f.agent != row.agent_name && f.agent != row.agent_id.str())
        return false;
    if (f.status && *f.status != row.status) return false;
    if (f.since && row.created_at < *f.since) return false;
    return std::ranges::all_of(f.labels, [&](const auto& label) {
        auto found = row.labels.find(label.first);
        return found != row.labels.end() && found->second == label.second;
    });
}

// Every filter, in pages of every size, against a plain walk over all rows; the clock jumps about.
TEST_F(ListsTest, FiltersAndPagesAgreeWithAPlainWalk) {
    SeededRandom random(3);
    std::vector<AgentId> agents;
    for (int i = 0; i < 3; ++i)
        agents.push_back(AgentId::generate(random));
    std::vector<ports::ExecutionRow> all;
    std::vector<std::future<aegis::Status>> answers;
    for (int i = 0; i < 300; ++i) {
        auto b = firstBatch(newId());
        auto agent = random.below(3);
        b.row.agent_id = agents[agent];
        b.row.agent_name = agent == 2 ? "other" : "coder";  // two ids had the name "coder"
        b.row.status = static_cast<Status>(1 + random.below(5));
        b.row.created_at = {1000 + i * 10 - static_cast<std::int64_t>(random.below(4) * 200)};
        if (random.below(2) == 0) b.row.labels["team"] = random.below(2) == 0 ? "a" : "b";
        if (random.below(3) == 0) b.row.labels["x"] = "";
        all.insert(all.begin(), b.row);
        answers.push_back(appendAsync(journal(), std::move(b)));
    }
    for (auto& answer : answers)
        ASSERT_TRUE(answer.get());

    std::vector<ports::ExecutionFilter> filters(1);
    auto widen = [&](auto change) {
        auto old = filters;
        for (auto f : old) {
            change(f);
            filters.push_back(std::move(f));
        }
    };
    widen([](auto& f) { f.agent = "coder"; });
    widen([&](auto& f) { f.agent = agents[0].str(); });
    widen([](auto& f) { f.status = Status::kFailed; });
    widen([](auto& f) { f.since = UtcTime{2500}; });
    widen([](auto& f) { f.labels["team"] = "a"; });
    widen([](auto& f) { f.labels["x"] = ""; });
    filters.push_back({.agent = "nobody"});
    for (auto& filter : filters) {
        std::vector<ExecutionId> expected, got;
        for (const auto& row : all) {
            if (matches(row, filter)) expected.push_back(row.id);
        }
        filter.limit = static_cast<int>(1 + random.below(20));
        do {
            auto page = journal().list(filter);
            ASSERT_TRUE(page) << page.error().message;
            ASSERT_LE(page->rows.size(), static_cast<std::size_t>(filter.limit));
            for (const auto& row : page->rows)
                got.push_back(row.id);
            filter.cursor = page->next_cursor;
        } while (!filter.cursor.empty());
        EXPECT_EQ(got, expected);
    }
    for (const char* bad : {"e", "n12", "e-1", "ezz", "e1 ", "12"})
        EXPECT_EQ(codeOf(journal().list({.cursor = bad})), code(ErrorCode::kInvalid)) << bad;
}

TEST_F(ListsTest, EndedBefore) {
    SeededRandom random(5);
    std::vector<ports::ExecutionRow> all;
    for (int i = 0; i < 100; ++i) {
        auto b = firstBatch(newId());
        b.row.status = static_cast<Status>(1 + random.below(5));
        b.row.created_at = {1000 + i * 10};
        if (execution::isTerminal(b.row.status))
            b.row.ended_at = {b.row.created_at.ms + static_cast<std::int64_t>(random.below(300))};
        all.push_back(b.row);
        ASSERT_TRUE(appendAsync(journal(), std::move(b)).get());
    }
    for (std::int64_t at : {0, 1000, 1250, 1700, 1990, 5000}) {
        std::vector<ExecutionId> expected;
        for (const auto& row : all)
            if (execution::isTerminal(row.status) && row.ended_at.ms <= at)
                expected.push_back(row.id);
        auto got = journal().endedBefore({at}, 1000);
        ASSERT_TRUE(got);
        EXPECT_EQ(*got, expected) << at;
        if (expected.size() < 3) continue;
        got = journal().endedBefore({at}, 2);
        ASSERT_TRUE(got);
        EXPECT_EQ(*got, std::vector(expected.begin(), expected.begin() + 2)) << "the oldest first";
    }
}

TEST_F(ListsTest, IdsByPrefix) {
    std::set<std::string> ids;
    ExecutionId newest;
    for (int i = 0; i < 50; ++i) {
        newest = newId();
        ids.insert(newest.str());
        ASSERT_TRUE(append(journal(), firstBatch(newest)));
    }
    EXPECT_EQ(*journal().idsByPrefix("", 1), std::vector{newest});
    EXPECT_EQ(*journal().idsByPrefix(newest.str(), 5), std::vector{newest});
    EXPECT_EQ(*journal().idsByPrefix(newest.str().substr(0, 13), 5), std::vector{newest});
    for (const char* first : {"0", "7", "f"}) {
        auto expected = std::ranges::count_if(ids, [&](auto& id) { return id[0] == first[0]; });
        EXPECT_EQ(journal().idsByPrefix(first, 100)->size(), static_cast<std::size_t>(expected));
    }
    EXPECT_EQ(journal().idsByPrefix("%", 5)->size(), 0U);
    EXPECT_EQ(journal().idsByPrefix("zzzz", 5)->size(), 0U);
}

TEST_F(ListsTest, UnfinishedOldestFirst) {
    std::vector<ExecutionId> expected;
    for (int i = 0; i < 12; ++i) {
        auto b = firstBatch(newId());
        b.row.status = static_cast<Status>(1 + i % 5);
        if (i % 5 < 2) expected.push_back(b.execution);
        ASSERT_TRUE(append(journal(), b));
    }
    auto rows = journal().unfinished();
    ASSERT_TRUE(rows);
    std::vector<ExecutionId> got;
    for (const auto& row : *rows)
        got.push_back(row.id);
    EXPECT_EQ(got, expected);
}

// A page must not cost more with many rows stored: the needles are old and rare.
TEST_F(ListsTest, RareRowsAreFoundFastAmongManyOthers) {
    store_.reset();
    {
        auto db = Database::open(dir_.path() + "/aegis.db", Database::Mode::kWrite, "");
        ASSERT_TRUE(db);
        ASSERT_TRUE(db->exec("PRAGMA synchronous = OFF"));
        auto filled = db->exec(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
            "INSERT INTO executions SELECT i, lower(printf('%08x-0000-4000-8000-%012x', i * 7919, "
            "i)), "
            "'a1b2c3d4-0000-4000-8000-000000000001', 'coder', 1, iif(i % 50000 = 7, 4, 3), '{}', "
            "1, 1, "
            "i, i, i, i, '', '', 0, 0, 0, 0, 1, x'' FROM n;"
            "INSERT INTO execution_agents VALUES "
            "('coder', 'a1b2c3d4-0000-4000-8000-000000000001');"
            "INSERT INTO execution_labels SELECT 'half', 'y', exec_no FROM executions "
            "WHERE exec_no % 2 = 1");
        ASSERT_TRUE(filled) << filled.error().message;
    }
    store_ = openStore(dir_.path());
    auto timed = [&](const ports::ExecutionFilter& filter, std::size_t expected) {
        auto best = std::chrono::steady_clock::duration::max();
        for (int i = 0; i < 5; ++i) {
            auto start = std::chrono::steady_clock::now();
            auto page = journal().list(filter);
            best = std::min(best, std::chrono::steady_clock::now() - start);
            ASSERT_TRUE(page);
            EXPECT_EQ(page->rows.size(), expected);
        }
        // A walk over the table takes some 100 times as long.
        EXPECT_LT(best, std::chrono::milliseconds(60));
    };
    timed({}, 50);
    timed({.status = Status::kFailed}, 4);
    timed({.agent = "coder", .status = Status::kFailed}, 4);
    timed({.status = Status::kFailed, .labels = {{"half", "y"}}}, 4);
    timed({.agent = "coder", .since = UtcTime{199'990}}, 11);
    timed({.status = Status::kFailed, .since = UtcTime{199'990}}, 0);
    timed({.labels = {{"half", "n"}}}, 0);
}

TEST_F(ListsTest, NodeEventsInterleaveAgentsAndExecutions) {
    ports::NewRevision revision{"coder", "1.0.0", "", {}, {}, "yaml", "{}"};
    auto deployed = store_->registry().deploy({revision});
    ASSERT_TRUE(deployed);
    auto agent = (*deployed)[0].record.id;
    auto id = newId();
    auto batch = firstBatch(id);
    batch.row.agent_id = agent;
    ASSERT_TRUE(append(journal(), batch));
    ASSERT_TRUE(store_->registry().setStatus(agent, ports::AgentStatus::kPaused));
    auto page = journal().nodeEvents({});
    ASSERT_TRUE(page);
    const auto& events = page->events;
    ASSERT_EQ(events.size(), 3U);
    EXPECT_EQ(events[0].event.at("type").as_string(), "AgentDeployed");
    EXPECT_EQ(json::dump(events[0].event.at("data")), R"({"name":"coder","revision":1})");
    EXPECT_EQ(json::dump(events[1].event),
              json::dump(execution::toJson(batch.events[0], id, agent)));
    EXPECT_EQ(events[2].event.at("type").as_string(), "AgentPaused");
    EXPECT_EQ(events[2].event.at("agent_id").as_string(), agent.str());
    EXPECT_EQ(page->cursor, events[2].cursor);
    EXPECT_EQ(journal().nodeEvents({.cursor = events[1].cursor})->events.size(), 1U);
    EXPECT_EQ(journal().nodeEvents({.limit = 2})->events.size(), 2U);
    EXPECT_EQ(journal().nodeEvents({.limit = 2})->cursor, events[1].cursor);
    EXPECT_EQ(codeOf(journal().nodeEvents({.cursor = "garbage"})), code(ErrorCode::kInvalid));
    auto newest = journal().nodeEvents({.cursor = "newest"});
    ASSERT_TRUE(newest);
    EXPECT_TRUE(newest->events.empty());
    EXPECT_EQ(newest->cursor, page->cursor);
}

TEST_F(ListsTest, TheNewestOfAnEmptyJournalIsTheFirstThatComes) {
    auto newest = journal().nodeEvents({.cursor = "newest"});
    ASSERT_TRUE(newest);
    ASSERT_TRUE(append(journal(), firstBatch(newId())));
    EXPECT_EQ(journal().nodeEvents({.cursor = newest->cursor})->events.size(), 1U);
}

}  // namespace
}  // namespace aegis::store
