#pragma once

#include <stdlib.h>

#include <cstdio>
#include <cstring>
#include <future>
#include <memory>
#include <string>

#include "os/clock.h"
#include "os/files.h"
#include "store/sqlite/store.h"

namespace aegis::store {

/// A directory that goes with the object.
class TempDir {
  public:
    explicit TempDir(const std::string& parent = "/tmp") {
        path_ = parent + "/aegis-store-XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr) path_.clear();
    }
    ~TempDir() { (void)os::removeTree(path_); }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

/// A random source of known numbers.
class SeededRandom : public Random {
  public:
    explicit SeededRandom(std::uint64_t seed) : state_(seed * 2654435761U + 1) {}
    void fill(std::span<std::byte> out) override {
        for (auto& byte : out)
            byte = static_cast<std::byte>(next() >> 56);
    }
    std::uint64_t next() {
        state_ = state_ * 6364136223846793005U + 1442695040888963407U;
        return state_ ^ (state_ >> 29);
    }
    std::uint64_t below(std::uint64_t n) { return (next() >> 16) % n; }

  private:
    std::uint64_t state_;
};

/// Opens with the defaults; ends the program where that fails.
inline std::unique_ptr<Store> openStore(const std::string& dir) {
    auto store = Store::open({dir, os::systemClock(), os::systemRandom()});
    if (store) return std::move(*store);
    std::fprintf(stderr, "cannot open a store: %s\n", store.error().message.c_str());
    std::abort();
}

inline ExecutionId newId() { return ExecutionId::generate(os::systemRandom()); }

inline execution::Event event(std::uint64_t seq, execution::EventData data) {
    execution::Event e{seq, {1'700'000'000'000 + static_cast<std::int64_t>(seq)}, 1, 0, 2, {}};
    e.data = std::move(data);
    return e;
}

/// The first batch of an execution.
inline ports::Batch firstBatch(const ExecutionId& id, const std::string& agent = "coder") {
    ports::Batch b;
    b.execution = id;
    execution::ExecutionCreated created;
    created.agent_name = agent;
    b.events.push_back(event(1, created));
    b.row.id = id;
    b.row.agent_id = *AgentId::parse("a1b2c3d4-0000-4000-8000-000000000001");
    b.row.agent_name = agent;
    b.row.agent_revision = 1;
    b.row.status = execution::Status::kPending;
    b.row.created_at = {1'700'000'000'000};
    return b;
}

/// A batch of one event behind `seq`.
inline ports::Batch nextBatch(const ExecutionId& id, std::uint64_t seq,
                              execution::EventData data = execution::CancelRequested{"test"}) {
    ports::Batch b = firstBatch(id);
    b.expected_seq = seq;
    b.events = {event(seq + 1, std::move(data))};
    b.row.status = execution::Status::kRunning;
    return b;
}

inline std::future<Status> appendAsync(ports::Journal& journal, ports::Batch batch) {
    auto promise = std::make_shared<std::promise<Status>>();  // std::function must be copyable
    auto future = promise->get_future();
    journal.append(std::move(batch), [promise](Status s) { promise->set_value(std::move(s)); });
    return future;
}

inline Status append(ports::Journal& journal, ports::Batch batch) {
    return appendAsync(journal, std::move(batch)).get();
}

inline std::string codeOf(const Status& status) {
    return status ? "ok" : std::string(errorTraits(status.error().code).name);
}
template <class T>
std::string codeOf(const Result<T>& result) {
    return result ? "ok" : std::string(errorTraits(result.error().code).name);
}

inline std::string code(ErrorCode c) { return std::string(errorTraits(c).name); }

}  // namespace aegis::store
