#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "store/sqlite/crc32c.h"
#include "store/sqlite/sqlite.h"
#include "store/sqlite/store_test_util.h"
#include "store/sqlite/wal_space.h"

namespace aegis::store {
namespace {

using execution::Status;

class JournalTest : public ::testing::Test {
  protected:
    ports::Journal& journal() { return store_->journal(); }
    void reopen() {
        store_.reset();
        store_ = openStore(dir_.path());
    }
    // Changes the file behind the store's back.
    void tamper(const std::string& sql) {
        store_.reset();
        auto db = Database::open(dir_.path() + "/aegis.db", Database::Mode::kWrite, "");
        ASSERT_TRUE(db);
        auto done = db->exec(sql.c_str());
        ASSERT_TRUE(done) << done.error().message;
        *db = Database();
        store_ = openStore(dir_.path());
    }

    TempDir dir_;
    std::unique_ptr<Store> store_ = openStore(dir_.path());
};

TEST(Crc32c, KnownValues) {
    EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
    EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
    EXPECT_EQ(crc32c(""), 0U);
}

TEST_F(JournalTest, AppendsAndReadsBackAfterReopening) {
    auto id = newId();
    auto batch = firstBatch(id);
    batch.row.labels = {{"team", "a\"b"}, {"é", ""}};
    batch.row.usage = {1, 2, 3, 0.25};
    ASSERT_EQ(codeOf(append(journal(), batch)), "ok");
    ASSERT_EQ(codeOf(append(journal(), nextBatch(id, 1))), "ok");
    reopen();
    auto events = journal().events(id, 0, 100);
    ASSERT_TRUE(events);
    ASSERT_EQ(events->size(), 2U);
    EXPECT_EQ((*events)[1].seq, 2U);
    EXPECT_EQ((*events)[1].time.ms, 1'700'000'000'002);
    EXPECT_EQ((*events)[1].iteration, 1);
    EXPECT_EQ((*events)[1].sandbox, 2);
    EXPECT_EQ(std::get<execution::CancelRequested>((*events)[1].data).reason, "test");
    EXPECT_EQ(journal().events(id, 1, 100)->size(), 1U);
    EXPECT_EQ(journal().events(id, 0, 1)->size(), 1U);
    EXPECT_EQ(journal().events(id, 7, 100)->size(), 0U);
    auto row = journal().row(id);
    ASSERT_TRUE(row);
    EXPECT_EQ(row->last_seq, 2U);
    EXPECT_EQ(row->status, Status::kRunning);
    EXPECT_EQ(row->labels, batch.row.labels);
    EXPECT_EQ(row->agent_id, batch.row.agent_id);
    EXPECT_EQ(codeOf(store_->verify(id)), "ok");
    EXPECT_EQ(codeOf(journal().events(newId(), 0, 10)), code(ErrorCode::kNotFound));
    EXPECT_EQ(codeOf(journal().row(newId())), code(ErrorCode::kNotFound));
}

TEST_F(JournalTest, RefusesWhatDoesNotFollow) {
    auto id = newId();
    EXPECT_EQ(codeOf(append(journal(), nextBatch(id, 1))), code(ErrorCode::kConflict));
    ASSERT_TRUE(append(journal(), firstBatch(id)));
    EXPECT_EQ(codeOf(append(journal(), firstBatch(id))), code(ErrorCode::kConflict));
    EXPECT_EQ(codeOf(append(journal(), nextBatch(id, 2))), code(ErrorCode::kConflict));
    auto gap = nextBatch(id, 1);
    gap.events[0].seq = 3;
    EXPECT_EQ(codeOf(append(journal(), gap)), code(ErrorCode::kInvalid));
    auto empty = firstBatch(newId());
    empty.events.clear();
    EXPECT_EQ(codeOf(append(journal(), empty)), code(ErrorCode::kInvalid));
    auto body = nextBatch(id, 1);
    body.bodies.push_back(ports::makeBody("x"));
    body.bodies[0].ref.sha256 = "../../../../etc/passwd";
    EXPECT_EQ(codeOf(append(journal(), body)), code(ErrorCode::kInvalid));
    EXPECT_EQ(journal().row(id)->last_seq, 1U);
}

// Batches that are written in one group: a refused one takes nothing else with it.
TEST_F(JournalTest, ARefusedBatchLeavesItsNeighboursAlone) {
    auto a = newId(), b = newId();
    std::vector<std::future<aegis::Status>> answers;
    auto soft = [](ports::Batch batch) {
        batch.durability = execution::Durability::kSoon;
        return batch;
    };
    answers.push_back(appendAsync(journal(), soft(firstBatch(a))));
    answers.push_back(appendAsync(journal(), soft(nextBatch(a, 5))));
    auto claims = nextBatch(a, 1);
    claims.acquire = {{"volume", "v"}};
    answers.push_back(appendAsync(journal(), soft(claims)));
    auto rival = firstBatch(b);
    rival.acquire = {{"volume", "w"}, {"volume", "v"}};
    answers.push_back(appendAsync(journal(), soft(rival)));
    answers.push_back(appendAsync(journal(), firstBatch(b)));
    EXPECT_EQ(codeOf(answers[0].get()), "ok");
    EXPECT_EQ(codeOf(answers[1].get()), code(ErrorCode::kConflict));
    EXPECT_EQ(codeOf(answers[2].get()), "ok");
    auto refused = answers[3].get();
    EXPECT_EQ(codeOf(refused), code(ErrorCode::kConflict));
    EXPECT_NE(refused.error().message.find(a.str()), std::string::npos);
    EXPECT_EQ(codeOf(answers[4].get()), "ok");
    EXPECT_EQ(journal().row(a)->last_seq, 2U);
    EXPECT_EQ(codeOf(store_->verify(b)), "ok");
    auto third = nextBatch(a, 2);
    third.acquire = {{"volume", "w"}};  // the refused batch holds nothing
    EXPECT_EQ(codeOf(append(journal(), third)), "ok");
}

TEST_F(JournalTest, AnExecutionGoesOnAfterABatchOfItWasRefused) {
    auto a = newId(), b = newId();
    auto holder = firstBatch(a), greedy = nextBatch(b, 1), ended = nextBatch(b, 5);
    holder.acquire = greedy.acquire = {{"volume", "v"}};
    ASSERT_EQ(codeOf(append(journal(), holder)), "ok");
    ASSERT_EQ(codeOf(append(journal(), firstBatch(b))), "ok");
    for (const auto& wrong : {greedy, nextBatch(b, 2), nextBatch(b, 0)})
        EXPECT_EQ(codeOf(append(journal(), wrong)), code(ErrorCode::kConflict));
    for (std::uint64_t seq = 1; seq < 5; ++seq)
        EXPECT_EQ(codeOf(append(journal(), nextBatch(b, seq))), "ok");
    EXPECT_EQ(codeOf(append(journal(), nextBatch(b, 4))), code(ErrorCode::kConflict)) << "a repeat";
    ended.row.status = Status::kFailed;
    EXPECT_EQ(codeOf(append(journal(), ended)), "ok");
    EXPECT_EQ(codeOf(store_->verify(b)), "ok");
    ports::ExecutionFilter filter;
    filter.status = Status::kRunning;
    EXPECT_TRUE(journal().list(filter)->rows.empty());
}

TEST_F(JournalTest, ClaimsAreHeldUntilReleased) {
    auto a = newId(), b = newId();
    auto first = firstBatch(a);
    first.acquire = {{"volume", "v"}};
    ASSERT_TRUE(append(journal(), first));
    ASSERT_TRUE(append(journal(), firstBatch(b)));
    auto want = nextBatch(b, 1);
    want.acquire = {{"volume", "v"}};
    reopen();
    EXPECT_EQ(codeOf(append(journal(), want)), code(ErrorCode::kConflict));
    auto again = nextBatch(a, 1);
    again.acquire = {{"volume", "v"}};
    EXPECT_EQ(codeOf(append(journal(), again)), "ok");
    auto release = nextBatch(a, 2);
    release.release_claims = true;
    ASSERT_TRUE(append(journal(), release));
    EXPECT_EQ(codeOf(append(journal(), want)), "ok");
}

TEST_F(JournalTest, ClaimsOfEndedExecutionsAreGivenUpWhenAsked) {
    auto ended = newId();
    auto open = newId();
    ASSERT_TRUE(append(journal(), firstBatch(ended)));
    ASSERT_TRUE(append(journal(), firstBatch(open)));
    auto quarantined = nextBatch(ended, 1);
    quarantined.acquire = {{"volume", "v"}};
    quarantined.row.status = execution::Status::kFailed;
    ASSERT_TRUE(append(journal(), quarantined));
    auto running = nextBatch(open, 1);
    running.acquire = {{"volume", "w"}};
    ASSERT_TRUE(append(journal(), running));
    auto third = newId();
    ASSERT_TRUE(append(journal(), firstBatch(third)));
    auto want = nextBatch(third, 1);
    want.acquire = {{"volume", "v"}};
    EXPECT_EQ(codeOf(append(journal(), want)), code(ErrorCode::kConflict));
    ASSERT_TRUE(journal().releaseEnded());
    EXPECT_EQ(codeOf(append(journal(), want)), "ok");
    auto other = nextBatch(third, 2);
    other.acquire = {{"volume", "w"}};
    EXPECT_EQ(codeOf(append(journal(), other)), code(ErrorCode::kConflict)) << "its holder runs";
}

TEST_F(JournalTest, IdempotencyKeysAreUniquePerAgent) {
    auto a = newId();
    auto first = firstBatch(a);
    first.idempotency_key = "key";
    first.idempotency_digest = "digest";
    ASSERT_TRUE(append(journal(), first));
    auto repeat = first;
    repeat.execution = newId();
    EXPECT_EQ(codeOf(append(journal(), repeat)), code(ErrorCode::kConflict));
    EXPECT_EQ(codeOf(journal().row(repeat.execution)), code(ErrorCode::kNotFound));
    auto other = repeat;
    other.row.agent_id = AgentId::generate(os::systemRandom());
    EXPECT_EQ(codeOf(append(journal(), other)), "ok");
    std::string digest;
    auto found = journal().byIdempotencyKey(first.row.agent_id, "key", digest);
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, a);
    EXPECT_EQ(digest, "digest");
    EXPECT_EQ(*journal().byIdempotencyKey(first.row.agent_id, "no", digest), std::nullopt);
}

TEST_F(JournalTest, BodiesInRowsAndFiles) {
    auto id = newId();
    auto batch = firstBatch(id);
    std::vector<std::string> texts = {"", std::string("a\0b", 3), std::string(64 << 10, 'r'),
                                      std::string((64 << 10) + 1, 'f'), std::string(9 << 20, 'g')};
    for (const auto& text : texts)
        batch.bodies.push_back(ports::makeBody(text));
    batch.bodies.push_back(ports::makeBody(texts[1]));
    ASSERT_EQ(codeOf(append(journal(), batch)), "ok");
    auto again = nextBatch(id, 1);
    again.bodies.push_back(ports::makeBody(texts[3]));
    ASSERT_EQ(codeOf(append(journal(), again)), "ok");
    reopen();
    for (const auto& text : texts) {
        auto body = journal().body(id, ports::makeBody(text).ref);
        ASSERT_TRUE(body) << body.error().message;
        EXPECT_TRUE(*body == text);
    }
    struct stat st{};
    auto file = dir_.path() + "/executions/" + id.str() + "/" + batch.bodies[3].ref.sha256;
    EXPECT_EQ(::stat(file.c_str(), &st), 0);
    EXPECT_EQ(codeOf(journal().body(id, ports::makeBody("other").ref)), code(ErrorCode::kNotFound));
    EXPECT_EQ(codeOf(journal().body(id, {"../x", 1})), code(ErrorCode::kInvalid));

    ASSERT_TRUE(os::writeFileAtomic(file, std::string((64 << 10) + 1, 'F')));
    auto damaged = journal().body(id, batch.bodies[3].ref);
    EXPECT_EQ(codeOf(damaged), code(ErrorCode::kInternal));
    EXPECT_NE(damaged.error().message.find(id.str()), std::string::npos);
    tamper("UPDATE bodies SET bytes = x'00' WHERE size = 3");
    EXPECT_EQ(codeOf(journal().body(id, batch.bodies[1].ref)), code(ErrorCode::kInternal));
}

TEST_F(JournalTest, LargeBodiesDoNotLetLaterBatchesOvertake) {
    auto id = newId();
    std::vector<std::future<aegis::Status>> answers;
    auto first = firstBatch(id);
    first.bodies.push_back(ports::makeBody(std::string(4 << 20, 'x')));
    answers.push_back(appendAsync(journal(), first));
    for (std::uint64_t seq = 1; seq < 60; ++seq) {
        auto batch = nextBatch(id, seq);
        if (seq % 7 == 0) batch.bodies.push_back(ports::makeBody(std::string(100'000 + seq, 'y')));
        answers.push_back(appendAsync(journal(), batch));
    }
    for (auto& answer : answers)
        EXPECT_EQ(codeOf(answer.get()), "ok");
    EXPECT_EQ(journal().row(id)->last_seq, 60U);
}

TEST_F(JournalTest, FilesOfARefusedExecutionGo) {
    auto taken = firstBatch(newId());
    taken.idempotency_key = "k";
    ASSERT_TRUE(append(journal(), taken));
    auto repeat = firstBatch(newId());
    repeat.idempotency_key = "k";
    repeat.bodies.push_back(ports::makeBody(std::string(100'000, 'x')));
    EXPECT_EQ(codeOf(append(journal(), repeat)), code(ErrorCode::kConflict));
    struct stat st{};
    EXPECT_NE(::stat((dir_.path() + "/executions/" + repeat.execution.str()).c_str(), &st), 0);
}

TEST_F(JournalTest, FilesThatNobodyOwnGoAtTheNextStart) {
    auto kept = firstBatch(newId());
    kept.bodies.push_back(ports::makeBody(std::string(100'000, 'x')));
    ASSERT_TRUE(append(journal(), kept));
    auto orphan = dir_.path() + "/executions/" + newId().str();
    ASSERT_TRUE(os::makeDirs(orphan));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    reopen();
    struct stat st{};
    for (int i = 0; i < 500 && ::stat(orphan.c_str(), &st) == 0; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_NE(::stat(orphan.c_str(), &st), 0);
    EXPECT_TRUE(journal().body(kept.execution, kept.bodies[0].ref));
}

TEST_F(JournalTest, DamageIsAnErrorThatNamesThePlace) {
    auto id = newId();
    ASSERT_TRUE(append(journal(), firstBatch(id)));
    for (std::uint64_t seq = 1; seq < 5; ++seq)
        ASSERT_TRUE(append(journal(), nextBatch(id, seq)));
    auto expect = [&](const std::string& sql, const std::string& place, bool in_events) {
        tamper("CREATE TABLE backup AS SELECT * FROM events; " + sql);
        auto verified = store_->verify(id);
        EXPECT_EQ(codeOf(verified), code(ErrorCode::kInternal)) << sql;
        if (!verified) {
            EXPECT_NE(verified.error().message.find(place), std::string::npos)
                << verified.error().message;
            EXPECT_NE(verified.error().message.find(id.str()), std::string::npos);
        }
        EXPECT_EQ(codeOf(journal().events(id, 0, 100)),
                  in_events ? code(ErrorCode::kInternal) : "ok")
            << sql;
        tamper("DELETE FROM events; INSERT INTO events SELECT * FROM backup; DROP TABLE backup");
        ASSERT_EQ(codeOf(store_->verify(id)), "ok");
    };
    expect("UPDATE events SET bytes = '{\"reason\":\"other\"}' WHERE seq = 3", "event 3", true);
    expect("UPDATE events SET time_ms = 1 WHERE seq = 2", "event 2", true);
    expect("UPDATE events SET type = 'ExecutionResumed' WHERE seq = 2", "event 2", true);
    expect("UPDATE events SET bytes = 'no json' WHERE seq = 4", "event 4", true);
    expect("DELETE FROM events WHERE seq = 2", "event 2", true);
    expect("DELETE FROM events WHERE seq = 5", "event 5", false);
    expect("UPDATE events SET chain = x'00' WHERE seq = 3", "event 3", false);
}

TEST_F(JournalTest, AnUnknownTypeIsListedButNotRun) {
    auto id = newId();
    ASSERT_TRUE(append(journal(), firstBatch(id)));
    std::uint32_t crc = crc32c("2 Novelty 1 5 0 0 0\n{\"a\":1}");
    tamper(
        "INSERT INTO events SELECT 99, exec_no, NULL, 2, 'Novelty', 1, 5, 0, 0, 0, '{\"a\":1}', " +
        std::to_string(crc) + ", x'00' FROM events");
    EXPECT_EQ(codeOf(journal().events(id, 0, 10)), code(ErrorCode::kUnsupported));
    auto node = journal().nodeEvents({.limit = 10});
    ASSERT_TRUE(node);
    ASSERT_EQ(node->events.size(), 2U);
    EXPECT_EQ(node->events[1].event.at("type").as_string(), "Novelty");
    EXPECT_EQ(journal().list({})->rows.size(), 1U);
}

TEST_F(JournalTest, RemovesEndedExecutionsOnly) {
    auto id = newId();
    auto first = firstBatch(id);
    first.idempotency_key = "k";
    first.row.labels = {{"a", "b"}};
    first.acquire = {{"volume", "v"}};
    first.bodies.push_back(ports::makeBody(std::string(100'000, 'x')));
    ASSERT_TRUE(append(journal(), first));
    EXPECT_EQ(codeOf(journal().remove(id)), code(ErrorCode::kConflict));
    auto end = nextBatch(id, 1, execution::ExecutionCancelled{});
    end.row.status = Status::kCancelled;
    ASSERT_TRUE(append(journal(), end));
    auto before = journal().nodeEvents({})->cursor;
    EXPECT_EQ(codeOf(journal().remove(id)), "ok");
    EXPECT_EQ(codeOf(journal().remove(id)), code(ErrorCode::kNotFound));
    EXPECT_EQ(codeOf(journal().row(id)), code(ErrorCode::kNotFound));
    struct stat st{};
    EXPECT_NE(::stat((dir_.path() + "/executions/" + id.str()).c_str(), &st), 0);
    reopen();
    auto again = firstBatch(newId());
    again.idempotency_key = "k";
    again.acquire = {{"volume", "v"}};
    ASSERT_EQ(codeOf(append(journal(), again)), "ok");
    EXPECT_EQ(journal().nodeEvents({.cursor = before})->events.size(), 1U)
        << "a number was used twice";
    EXPECT_EQ(journal().list({.labels = {{"a", "b"}}})->rows.size(), 0U);
}

TEST_F(JournalTest, ObserversSeeCommitsInOrder) {
    std::vector<std::pair<ExecutionId, std::uint64_t>> seen;
    journal().observe([&](const ExecutionId& id, const AgentId& agent, const auto& events) {
        EXPECT_FALSE(agent.empty());
        for (const auto& e : events)
            seen.emplace_back(id, e.seq);
    });
    auto a = newId(), b = newId();
    std::vector<std::future<aegis::Status>> answers;
    std::vector<std::pair<ExecutionId, std::uint64_t>> expected;
    for (std::uint64_t seq = 0; seq < 50; ++seq) {
        for (const auto& id : {a, b}) {
            answers.push_back(appendAsync(journal(), seq ? nextBatch(id, seq) : firstBatch(id)));
            answers.push_back(appendAsync(journal(), nextBatch(id, 999)));
            expected.emplace_back(id, seq + 1);
        }
    }
    for (auto& answer : answers)
        (void)answer.get();
    store_.reset();
    EXPECT_EQ(seen, expected);
}

TEST_F(JournalTest, CommitsGoIntoAFileThatIsLongAlready) {
    const auto wal = dir_.path() + "/aegis.db-wal";
    auto length = [&] {
        struct stat st{};
        return ::stat(wal.c_str(), &st) == 0 ? st.st_size : -1;
    };
    auto id = newId();
    ASSERT_TRUE(append(journal(), firstBatch(id)));
    auto before = length();
    EXPECT_GE(before, kWalBytes);
    for (std::uint64_t seq = 1; seq < 50; ++seq)
        ASSERT_TRUE(append(journal(), nextBatch(id, seq)));
    EXPECT_EQ(length(), before);

    // As after a power cut: what lies there now, opened by another daemon.
    TempDir copy;
    for (auto name : {"/aegis.db", "/aegis.db-wal"}) {
        auto bytes = os::readFile(dir_.path() + name, 64 << 20);
        ASSERT_TRUE(bytes);
        ASSERT_TRUE(os::writeFileAtomic(copy.path() + name, *bytes));
    }
    auto other = openStore(copy.path());
    EXPECT_EQ(other->journal().events(id, 0, 100)->size(), 50U);
    EXPECT_TRUE(other->verify(id));
}

TEST_F(JournalTest, AnObserverSeesWhatCameBeforeItIsForgotten) {
    auto seen = std::make_unique<std::vector<std::uint64_t>>();
    journal().observe([&](const ExecutionId&, const AgentId&, const auto& events) {
        for (const auto& e : events)
            seen->push_back(e.seq);
    });
    auto id = newId();
    auto first = appendAsync(journal(), firstBatch(id));
    auto soft = nextBatch(id, 1);
    soft.durability = execution::Durability::kSoon;
    auto second = appendAsync(journal(), std::move(soft));
    journal().unobserve();
    EXPECT_EQ(*seen, (std::vector<std::uint64_t>{1, 2}));
    seen.reset();
    EXPECT_TRUE(appendAsync(journal(), nextBatch(id, 2)).get());
}

TEST_F(JournalTest, SoftBatchesWaitForCompanyAndUrgentOnesDoNot) {
    using clock = std::chrono::steady_clock;
    constexpr std::int64_t kWaitMs = 1500;
    store_.reset();
    StoreOptions options{dir_.path(), os::systemClock(), os::systemRandom()};
    options.group_wait_ms = kWaitMs;
    auto store = Store::open(options);
    ASSERT_TRUE(store);
    auto& slow = (*store)->journal();
    auto a = newId(), b = newId();
    ASSERT_TRUE(append(slow, firstBatch(a)));
    auto soft = nextBatch(a, 1);
    soft.durability = execution::Durability::kCoalesced;
    auto start = clock::now();
    ASSERT_TRUE(append(slow, soft));
    EXPECT_GE(clock::now() - start, std::chrono::milliseconds(kWaitMs - 50));
    soft = nextBatch(a, 2);
    soft.durability = execution::Durability::kSoon;
    start = clock::now();
    auto waiting = appendAsync(slow, soft);
    ASSERT_TRUE(append(slow, firstBatch(b)));
    EXPECT_EQ(waiting.wait_for(std::chrono::seconds(0)), std::future_status::ready);
    EXPECT_LT(clock::now() - start, std::chrono::milliseconds(kWaitMs - 50));
}

TEST_F(JournalTest, EightThreadsAtOnce) {
    constexpr int kThreads = 8, kExecutions = 5, kBatches = 40;
    std::vector<std::thread> threads;
    std::atomic<int> failures = 0;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            SeededRandom random(static_cast<std::uint64_t>(t));
            std::vector<std::future<aegis::Status>> answers;
            std::vector<ExecutionId> ids;
            for (int e = 0; e < kExecutions; ++e)
                ids.push_back(newId());
            for (std::uint64_t seq = 0; seq < kBatches; ++seq) {
                for (const auto& id : ids) {
                    auto batch = seq ? nextBatch(id, seq) : firstBatch(id);
                    if (random.below(8) == 0)
                        batch.bodies.push_back(ports::makeBody(std::string(70'000, 'b')));
                    if (random.below(2) == 0) batch.durability = execution::Durability::kSoon;
                    answers.push_back(appendAsync(journal(), std::move(batch)));
                }
                (void)journal().list({});
                (void)journal().unfinished();
            }
            for (auto& answer : answers)
                failures += answer.get() ? 0 : 1;
            for (const auto& id : ids)
                failures += store_->verify(id) ? 0 : 1;
        });
    }
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(failures, 0);
    std::string cursor;
    std::set<std::string> cursors;
    std::size_t count = 0;
    while (true) {
        auto page = journal().nodeEvents({.cursor = cursor, .limit = 37});
        ASSERT_TRUE(page);
        if (page->events.empty()) break;
        cursor = page->cursor;
        for (const auto& e : page->events)
            cursors.insert(e.cursor);
        count += page->events.size();
    }
    EXPECT_EQ(count, std::size_t(kThreads * kExecutions * kBatches));
    EXPECT_EQ(cursors.size(), count);
}

// Whatever was written reads back equal, in the same order, also after reopening.
TEST_F(JournalTest, RandomBatchesReadBackEqual) {
    SeededRandom random(42);
    std::map<ExecutionId, std::vector<std::string>> written;
    std::vector<ExecutionId> ids;
    std::vector<std::future<aegis::Status>> answers;
    for (int i = 0; i < 400; ++i) {
        if (ids.empty() || random.below(10) == 0) ids.push_back(newId());
        const auto& id = ids[random.below(ids.size())];
        auto& log = written[id];
        auto batch = log.empty() ? firstBatch(id) : nextBatch(id, log.size());
        std::uint64_t last = batch.events.back().seq;
        for (std::uint64_t n = random.below(5); n > 0; --n) {
            std::string text;
            for (std::uint64_t k = random.below(300); k > 0; --k)
                text += static_cast<char>(random.below(256));
            batch.events.push_back(event(++last, execution::OutputAppended{"model", text}));
        }
        for (const auto& e : batch.events)
            log.push_back(json::dump(execution::toJson(e, id, batch.row.agent_id)));
        answers.push_back(appendAsync(journal(), std::move(batch)));
    }
    for (auto& answer : answers)
        ASSERT_EQ(codeOf(answer.get()), "ok");
    reopen();
    for (const auto& [id, log] : written) {
        auto events = journal().events(id, 0, 10'000);
        ASSERT_TRUE(events);
        ASSERT_EQ(events->size(), log.size());
        for (std::size_t i = 0; i < log.size(); ++i) {
            EXPECT_EQ(json::dump(execution::toJson((*events)[i], id, firstBatch(id).row.agent_id)),
                      log[i]);
        }
    }
}

// A child that appends is killed at a random moment: what it said was acknowledged is there.
TEST_F(JournalTest, WhatWasAcknowledgedSurvivesAKill) {
    store_.reset();
    SeededRandom random(static_cast<std::uint64_t>(::getpid()));
    for (int round = 0; round < 6; ++round) {
        int pipe_fds[2];
        ASSERT_EQ(::pipe(pipe_fds), 0);
        pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            auto store = openStore(dir_.path());
            if (!store) ::_exit(1);
            int fd = pipe_fds[1];
            for (int n = 0;; ++n) {
                auto id = newId();
                for (std::uint64_t seq = 0; seq < 4; ++seq) {
                    auto batch = seq ? nextBatch(id, seq) : firstBatch(id);
                    if (n % 3 == 0)
                        batch.bodies.push_back(ports::makeBody(std::string(70'000, 'k')));
                    store->journal().append(std::move(batch), [fd, id, seq](aegis::Status status) {
                        char line[40];
                        std::memcpy(line, id.str().data(), 36);
                        std::memcpy(line + 36, "0001", 4);
                        line[39] = static_cast<char>('1' + seq);
                        if (status && ::write(fd, line, 40) != 40) ::_exit(2);
                    });
                }
                if (n % 20 != 19) continue;
                // Not too far ahead of the disk.
                std::promise<void> stored;
                store->journal().append(firstBatch(newId()),
                                        [&stored](aegis::Status) { stored.set_value(); });
                stored.get_future().wait();
            }
        }
        ::close(pipe_fds[1]);
        // Killed after a random number of acknowledgements, in the middle of whatever comes next.
        std::string said;
        auto enough = 40 * (1 + random.below(600));
        char piece[4096];
        for (ssize_t n = 0; (n = ::read(pipe_fds[0], piece, sizeof piece)) > 0;) {
            said.append(piece, static_cast<std::size_t>(n));
            if (said.size() >= enough) ::kill(child, SIGKILL);
        }
        ::waitpid(child, nullptr, 0);
        ::close(pipe_fds[0]);
        store_ = openStore(dir_.path());
        ASSERT_TRUE(store_);
        std::map<std::string, std::uint64_t> acknowledged;
        for (std::size_t at = 0; at + 40 <= said.size(); at += 40)
            acknowledged[said.substr(at, 36)] = static_cast<std::uint64_t>(said[at + 39] - '0');
        EXPECT_GT(acknowledged.size(), 0U);
        for (const auto& [text, seq] : acknowledged) {
            auto id = *ExecutionId::parse(text);
            auto row = journal().row(id);
            ASSERT_TRUE(row) << "an acknowledged execution is gone";
            EXPECT_GE(row->last_seq, seq);
            EXPECT_EQ(codeOf(store_->verify(id)), "ok");
        }
        store_.reset();
    }
    store_ = openStore(dir_.path());
}

}  // namespace
}  // namespace aegis::store
