// How many events a second become durable, and how long one commit takes, beside the bare fdatasync
// of the same amount on the same file system in the same run.
//
//     store_bench [directory]

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "store/sqlite/store_test_util.h"

namespace aegis::store {
namespace {

using Time = std::chrono::steady_clock;

double msSince(Time::time_point start) {
    return std::chrono::duration<double, std::milli>(Time::now() - start).count();
}

double percentile(std::vector<double> values, double p) {
    std::ranges::sort(values);
    return values[static_cast<std::size_t>(p * static_cast<double>(values.size() - 1))];
}

void report(const char* what, const std::vector<double>& ms) {
    fmt::print("{:<44} p50 {:.3f} ms, p99 {:.3f} ms\n", what, percentile(ms, 0.5),
               percentile(ms, 0.99));
}

void benchSync(const std::string& dir, int rounds) {
    os::Fd fd(::open((dir + "/bare").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    std::string page(4096 * 4, 'x');
    std::vector<double> ms;
    for (int i = 0; i < rounds; ++i) {
        auto start = Time::now();
        if (::pwrite(fd.get(), page.data(), page.size(), 0) < 0 || ::fdatasync(fd.get()) != 0)
            return;
        ms.push_back(msSince(start));
    }
    report("fdatasync of 16 KiB in place", ms);
}

void benchCommit(ports::Journal& journal, int rounds) {
    std::vector<double> ms;
    for (int i = 0; i < rounds; ++i) {
        auto batch = firstBatch(newId());
        batch.bodies.push_back(ports::makeBody(std::string(200, 'i')));
        auto start = Time::now();
        if (!append(journal, std::move(batch))) return;
        ms.push_back(msSince(start));
    }
    report("one execution accepted (durable)", ms);
}

// Two producers, as the two core threads are, with at most 2,000 batches under way between them.
void benchThroughput(ports::Journal& journal, int executions, std::uint64_t batches,
                     int per_batch) {
    std::mutex mutex;
    std::condition_variable changed;
    int under_way = 0, failed = 0;
    auto produce = [&] {
        std::vector<ExecutionId> ids(static_cast<std::size_t>(executions));
        for (auto& id : ids)
            id = newId();
        std::uint64_t seq = 0;
        for (std::uint64_t n = 0; n < batches; ++n) {
            for (const auto& id : ids) {
                auto batch = seq ? nextBatch(id, seq) : firstBatch(id);
                while (batch.events.size() < static_cast<std::size_t>(per_batch))
                    batch.events.push_back(event(
                        batch.events.back().seq + 1,
                        execution::ToolCallStarted{1, 0, 0, 0, "fs.write", "/workspace/a.py"}));
                std::unique_lock lock(mutex);
                changed.wait(lock, [&] { return under_way < 2000; });
                ++under_way;
                lock.unlock();
                journal.append(std::move(batch), [&](const Status& status) {
                    std::lock_guard guard(mutex);
                    --under_way;
                    failed += status ? 0 : 1;
                    changed.notify_all();
                });
            }
            seq += static_cast<std::uint64_t>(per_batch);
        }
    };
    auto start = Time::now();
    std::thread a(produce), b(produce);
    a.join();
    b.join();
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return under_way == 0; });
    double total = 2.0 * executions * static_cast<double>(batches) * per_batch;
    fmt::print("{:<44} {:.0f} events/s ({} refused)\n",
               fmt::format("events durable, {} to a batch", per_batch),
               total / msSince(start) * 1000, failed);
}

}  // namespace
}  // namespace aegis::store

int main(int argc, char** argv) {
    using namespace aegis::store;
    TempDir dir(argc > 1 ? argv[1] : "/tmp");
    auto start = std::chrono::steady_clock::now();
    auto store = openStore(dir.path() + "/data");
    if (!store) return 1;
    fmt::print("{:<44} {:.1f} ms\n", "open, new directory", msSince(start));
    store.reset();
    start = std::chrono::steady_clock::now();
    store = openStore(dir.path() + "/data");
    fmt::print("{:<44} {:.1f} ms\n", "open again", msSince(start));
    benchSync(dir.path(), 500);
    benchCommit(store->journal(), 500);
    benchThroughput(store->journal(), 500, 40, 1);
    benchThroughput(store->journal(), 500, 40, 4);
    benchSync(dir.path(), 500);
}
