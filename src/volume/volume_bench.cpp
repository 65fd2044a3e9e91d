// What an execution waits for when it has a volume: attach and detach, made and deleted each time.
//
//     volume_bench DIRECTORY [ROUNDS]        a JSON object per line; bench/volumes.py reads it

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <future>
#include <vector>

#include "os/clock.h"
#include "os/files.h"
#include "volume/fake_store_for_test.h"
#include "volume/manager.h"

namespace aegis::volume {
namespace {

using Time = std::chrono::steady_clock;

class Bench {
  public:
    Bench(const std::string& dir, int rounds)
        : manager_({.dir = dir}, store_, os::systemClock(), os::systemRandom()), rounds_(rounds) {}
    ~Bench() { manager_.unmountAll(soon()); }

    /// `pause_ms` between two: what a user sees who is alone, or none.
    bool run(const std::string& what, std::int64_t pause_ms) {
        std::vector<double> attach_ms, detach_ms;
        const auto began = Time::now();
        for (int i = 0; i < rounds_; ++i) {
            const auto execution = ExecutionId::generate(os::systemRandom());
            auto start = Time::now();
            if (!attach(execution)) return false;
            attach_ms.push_back(msSince(start));
            if (!os::writeFileAtomic(source_ + "/result", "x")) return false;
            start = Time::now();
            if (!detach(execution)) return false;
            detach_ms.push_back(msSince(start));
            os::pauseMs(pause_ms);
        }
        report(what + ", attach", attach_ms);
        report(what + ", detach and delete", detach_ms);
        if (pause_ms == 0)
            fmt::print("{{\"figure\": \"{}, volumes a second\", \"p50\": {:.1f}}}\n", what,
                       1e3 * rounds_ / msSince(began));
        return true;
    }
    /// Rows of volumes that are kept; their images do not matter here.
    void addRows(int count) {
        for (int i = 0; i < count; ++i)
            static_cast<void>(store_.put({.id = VolumeId::generate(os::systemRandom()),
                                          .name = "kept",
                                          .storage_class = "persistent"}));
    }

  private:
    static Deadline soon() { return Deadline::in(os::systemClock().boot(), 30'000); }
    static double msSince(Time::time_point start) {
        return std::chrono::duration<double, std::milli>(Time::now() - start).count();
    }
    static void report(const std::string& what, std::vector<double>& ms) {
        std::ranges::sort(ms);
        const auto at = [&](double p) {
            return ms[static_cast<std::size_t>(p * static_cast<double>(ms.size() - 1))];
        };
        fmt::print("{{\"figure\": \"{}\", \"p50\": {:.3f}, \"p95\": {:.3f}}}\n", what, at(0.5),
                   at(0.95));
    }
    bool attach(const ExecutionId& execution) {
        std::promise<bool> attached;
        manager_.attach({.execution = execution,
                         .agent = agent_,
                         .volumes = {{.name = "work",
                                      .mount_point = "/work",
                                      .size_limit_bytes = 64ULL << 20,
                                      .ttl_ms = 0}}},
                        soon(), [&](auto result) {
                            if (result)
                                source_ = result->at(0).source;
                            else
                                fmt::print(stderr, "error: {}\n", result.error().message);
                            attached.set_value(result.has_value());
                        });
        return attached.get_future().get();
    }
    bool detach(const ExecutionId& execution) {
        std::promise<bool> detached;
        manager_.detach(execution, os::systemClock().utc(), soon(),
                        [&](const Status& status) { detached.set_value(status.has_value()); });
        return detached.get_future().get();
    }

    FakeVolumeStore store_;
    VolumeManager manager_;
    const int rounds_;
    AgentId agent_ = AgentId::generate(os::systemRandom());
    std::string source_;
};

}  // namespace
}  // namespace aegis::volume

int main(int argc, char** argv) {
    if (argc < 2) {
        fmt::print(stderr, "usage: volume_bench DIRECTORY [ROUNDS]\n");
        return 2;
    }
    aegis::volume::Bench bench(argv[1], argc > 2 ? std::atoi(argv[2]) : 100);
    if (!bench.run("one at a time", 30) || !bench.run("one after the other", 0)) return 1;
    bench.addRows(5000);
    return bench.run("beside 5,000 others", 30) ? 0 : 1;
}
