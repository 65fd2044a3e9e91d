#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/router.h"

namespace aegis::models::test {

class FakeClock : public Clock {
  public:
    UtcTime utc() override { return {1771840801000 + boot_.ns / 1'000'000}; }
    BootTime boot() override { return boot_; }
    void advance(std::int64_t ms) { boot_.ns += ms * 1'000'000; }

  private:
    BootTime boot_{1'000'000'000};
};

class ZeroRandom : public Random {
  public:
    void fill(std::span<std::byte> out) override {
        for (auto& byte : out)
            byte = std::byte{0};
    }
};

/// Timers that run when the test lets time pass.
class ManualTimers : public Timers {
  public:
    explicit ManualTimers(FakeClock& clock) : clock_(clock) {}
    TimerId after(std::int64_t ms, std::function<void()> fn) override {
        queue_[{clock_.boot().ns + ms * 1'000'000, ++last_}] = std::move(fn);
        return last_;
    }
    void cancel(TimerId id) override {
        std::erase_if(queue_, [id](const auto& entry) { return entry.first.second == id; });
    }
    /// Lets `ms` pass and runs what becomes due.
    void advance(std::int64_t ms) {
        std::int64_t end = clock_.boot().ns + ms * 1'000'000;
        while (!queue_.empty() && queue_.begin()->first.first <= end) {
            auto node = queue_.extract(queue_.begin());
            clock_.advance((node.key().first - clock_.boot().ns) / 1'000'000);
            node.mapped()();
        }
        clock_.advance((end - clock_.boot().ns) / 1'000'000);
    }
    std::size_t size() const { return queue_.size(); }

  private:
    FakeClock& clock_;
    std::map<std::pair<std::int64_t, TimerId>, std::function<void()>> queue_;
    TimerId last_ = 0;
};

/// Transfers that the test answers.
class FakeHttp : public HttpOut {
  public:
    net::TransferId start(net::CurlRequest request, net::CurlCallbacks callbacks) override {
        requests.push_back(std::move(request));
        callbacks_[requests.size()] = std::move(callbacks);
        return requests.size();
    }
    void cancel(net::TransferId id) override { cancelled += callbacks_.erase(id); }

    /// For the newest transfer: its head and a piece of its body. False if the client aborted.
    bool send(int status, std::string_view body, wire::Headers headers = {}) {
        auto callbacks = callbacks_.at(requests.size());
        if (callbacks.on_head) callbacks.on_head({status, headers});
        return body.empty() || callbacks.on_data(body) != net::OnDataVerdict::kAbort;
    }
    /// Ends the newest transfer.
    void end(int status, wire::Headers headers = {}, std::optional<Error> error = std::nullopt) {
        auto node = callbacks_.extract(requests.size());
        node.mapped().on_done({std::move(error), status, std::move(headers)});
    }
    void answer(int status, std::string_view body, wire::Headers headers = {}) {
        bool taken = send(status, body, headers);
        end(status, headers,
            taken ? std::nullopt : std::optional<Error>(Error(ErrorCode::kCancelled, "aborted")));
    }
    void fail(ErrorCode code, std::string message = "broken") {
        end(0, {}, Error(code, std::move(message)));
    }
    std::size_t open() const { return callbacks_.size(); }

    std::vector<net::CurlRequest> requests;
    std::size_t cancelled = 0;

  private:
    std::map<net::TransferId, net::CurlCallbacks> callbacks_;
};

}  // namespace aegis::models::test
