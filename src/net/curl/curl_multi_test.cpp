#include "net/curl/curl_multi.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "net/test_support.h"

namespace aegis::net {
namespace {

CurlRequest post(const Server& server, std::string path, std::string body = "{}") {
    CurlRequest request;
    request.url = "http://" + endpointOf(server).str() + path;
    request.body = std::make_shared<const std::string>(std::move(body));
    request.deadline = soon();
    return request;
}

struct Outcome {
    CurlResult result;
    std::string body;
};

Outcome perform(CurlMulti& curl, CurlRequest request) {
    std::promise<CurlResult> done;
    std::string body;
    CurlCallbacks callbacks;
    callbacks.on_data = [&](std::string_view chunk) {
        body.append(chunk);
        return OnDataVerdict::kContinue;
    };
    callbacks.on_done = [&](CurlResult result) { done.set_value(std::move(result)); };
    curl.start(std::move(request), std::move(callbacks));
    auto result = done.get_future().get();
    return {std::move(result), std::move(body)};
}

class CurlMultiTest : public ::testing::Test {
  protected:
    ErrorCode errorOf(CurlRequest request) {
        auto outcome = perform(*curl_, std::move(request));
        EXPECT_TRUE(outcome.result.error);
        return outcome.result.error ? outcome.result.error->code : ErrorCode::kInternal;
    }
    /// `count` at once, all of which end well; false: not in time.
    bool performTogether(const Server& server, int count) {
        std::mutex mutex;
        std::condition_variable ended;
        int left = count;
        for (int i = 0; i < count; ++i) {
            CurlCallbacks callbacks;
            callbacks.on_done = [&](const CurlResult& result) {
                EXPECT_FALSE(result.error) << result.error->message;
                std::lock_guard lock(mutex);
                if (--left == 0) ended.notify_all();
            };
            curl_->start(post(server, "/"), callbacks);
        }
        std::unique_lock lock(mutex);
        return ended.wait_for(lock, std::chrono::seconds(20), [&] { return left == 0; });
    }
    std::unique_ptr<CurlMulti> curl_ = *CurlMulti::create();
};

TEST_F(CurlMultiTest, SendsAndReceives) {
    auto server = serveOn([](const Request& request, ResponseWriter& writer) {
        EXPECT_EQ(request.headers.get("Authorization"), "Bearer key");
        EXPECT_EQ(request.headers.get("X-Empty", "none"), "");
        EXPECT_EQ(request.headers.find("Expect"), nullptr);
        (void)writer.send(429, {{"Retry-After", "7"}}, request.method + request.body);
    });
    auto request = post(*server, "/x", std::string(100'000, 'b'));
    request.headers = {{"X-Empty", ""}};
    request.secret_headers = {{"Authorization", Secret("Bearer key")}};
    auto outcome = perform(*curl_, std::move(request));
    ASSERT_FALSE(outcome.result.error) << outcome.result.error->message;
    EXPECT_EQ(outcome.result.http_status, 429);
    EXPECT_EQ(outcome.result.headers.get("retry-after"), "7");
    EXPECT_EQ(outcome.body, "POST" + std::string(100'000, 'b'));
}

TEST_F(CurlMultiTest, ReusesConnectionsAndIgnoresTheProxyOfTheEnvironment) {
    ::setenv("http_proxy", "http://127.0.0.1:1", 1);
    std::string first, second;
    auto server = serveOn([&](const Request& request, ResponseWriter& writer) {
        (request.path == "/1" ? first : second) = request.peer.address;
        echo(request, writer);
    });
    EXPECT_FALSE(perform(*curl_, post(*server, "/1")).result.error);
    EXPECT_FALSE(perform(*curl_, post(*server, "/2")).result.error);
    EXPECT_EQ(first, second);
    EXPECT_FALSE(first.empty());
}

TEST_F(CurlMultiTest, GoesOverTheConnectionItIsGivenAndNoOther) {
    std::vector<std::string> peers;
    auto server = serveOn([&](const Request& request, ResponseWriter& writer) {
        peers.push_back(request.peer.address + " " + std::string(request.headers.get("Host")));
        echo(request, writer);
    });
    for (int i = 0; i < 2; ++i) {
        auto request = post(*server, "/");
        request.url = "http://no-such-name.invalid/x";
        request.connection = *os::connectTcp("127.0.0.1", server->port(), soon());
        request.connection_to = "192.0.2.1:80";  // curl must not connect to it
        auto outcome = perform(*curl_, std::move(request));
        ASSERT_FALSE(outcome.result.error) << outcome.result.error->message;
        EXPECT_EQ(outcome.body, "POST /x {}");
        EXPECT_GT(outcome.result.bytes, outcome.body.size());
    }
    ASSERT_EQ(peers.size(), 2U);
    EXPECT_NE(peers[0], peers[1]);
    EXPECT_TRUE(peers[0].ends_with(" no-such-name.invalid")) << peers[0];
}

TEST_F(CurlMultiTest, AHeadHasALimit) {
    auto server = serveOn([](const Request&, ResponseWriter& writer) {
        wire::Headers headers;
        for (int i = 0; i < 50; ++i)
            headers.add("X-" + std::to_string(i), std::string(8000, 'h'));
        (void)writer.send(200, headers, "body");
    });
    EXPECT_EQ(errorOf(post(*server, "/")), ErrorCode::kTooLarge);
}

TEST_F(CurlMultiTest, ATransferHasNothingOfTheOneBeforeIt) {
    auto server = serveOn([](const Request& request, ResponseWriter& writer) {
        std::string said = request.method + " " + request.body + " ";
        said += request.headers.get("Authorization", "none");
        (void)writer.send(200, {}, said);
    });
    auto plain = [&](std::string method) {
        CurlRequest request;
        request.url = "http://" + endpointOf(*server).str() + "/";
        request.method = std::move(method);
        request.deadline = soon();
        return request;
    };
    for (int i = 0; i < 2; ++i) {
        auto with_key = post(*server, "/", "body");
        with_key.secret_headers = {{"Authorization", Secret("Bearer key")}};
        EXPECT_EQ(perform(*curl_, std::move(with_key)).body, "POST body Bearer key");
        EXPECT_EQ(perform(*curl_, plain("GET")).body, "GET  none");
        auto strange = post(*server, "/", "body");
        strange.method = "PATCH";
        EXPECT_EQ(perform(*curl_, std::move(strange)).body, "PATCH body none");
        EXPECT_EQ(perform(*curl_, plain("HEAD")).body, "");
        EXPECT_EQ(perform(*curl_, post(*server, "/", "other")).body, "POST other none");
        auto late = plain("GET");
        late.deadline = Deadline::in(os::systemClock().boot(), 0);
        EXPECT_EQ(errorOf(std::move(late)), ErrorCode::kTimeout);
        auto refused = plain("GET");
        refused.url = "http://127.0.0.1:1/";
        EXPECT_EQ(errorOf(std::move(refused)), ErrorCode::kUnreachable);
        auto over_its_own = plain("GET");
        over_its_own.url = "http://no-such-name.invalid/";
        over_its_own.connection = *os::connectTcp("127.0.0.1", server->port(), soon());
        over_its_own.connection_to = "192.0.2.1:80";
        EXPECT_EQ(perform(*curl_, std::move(over_its_own)).body, "GET  none");
    }
}

TEST_F(CurlMultiTest, Errors) {
    auto server = serveOn([](const Request& request, ResponseWriter& writer) {
        if (request.path == "/silent") {
            (void)os::waitReady(writer.socket(), POLLRDHUP, soon());
            return;
        }
        ASSERT_TRUE(writer.begin(200, {}));
        ASSERT_TRUE(writer.write(std::string(1000, 'x')));
        if (request.path == "/whole") (void)writer.end();
    });
    EXPECT_EQ(errorOf(post(*server, "/cut")), ErrorCode::kIo);
    auto changed = [&](const std::string& path, auto change) {
        auto request = post(*server, path);
        change(request);
        return errorOf(std::move(request));
    };
    EXPECT_EQ(changed("/whole", [](auto& r) { r.max_response_bytes = 999; }), ErrorCode::kTooLarge);
    EXPECT_EQ(changed("/silent", [](auto& r) { r.deadline = soon(50); }), ErrorCode::kTimeout);
    EXPECT_EQ(changed("/silent", [](auto& r) { r.deadline = soon(0); }), ErrorCode::kTimeout);
    EXPECT_EQ(changed("/whole", [](auto& r) { r.headers = {{"A", "b\r\nC: d"}}; }),
              ErrorCode::kInvalid);
    EXPECT_EQ(changed("/whole", [](auto& r) { r.url = "file:///etc/passwd"; }),
              ErrorCode::kInvalid);
    const auto secure = "https://" + endpointOf(*server).str() + "/";
    EXPECT_EQ(changed("/whole", [&](auto& r) { r.url = secure; }), ErrorCode::kUnreachable);
    auto refused = post(*server, "/whole");
    server->stop(soon());
    EXPECT_EQ(errorOf(std::move(refused)), ErrorCode::kUnreachable);
    EXPECT_EQ(changed("/", [](auto& r) { r.url = "http://no-such-host.invalid/"; }),
              ErrorCode::kUnreachable);
}

TEST_F(CurlMultiTest, DoesNotFollowRedirects) {
    auto server = serveOn([](const Request& request, ResponseWriter& writer) {
        EXPECT_EQ(request.path, "/from");
        (void)writer.send(307, {{"Location", "/to"}}, "");
    });
    EXPECT_EQ(perform(*curl_, post(*server, "/from")).result.http_status, 307);
}

TEST_F(CurlMultiTest, CancelIsAtOnceAndSilent) {
    os::EventFd data;
    std::promise<bool> gone;
    auto server = serveOn([&](const Request&, ResponseWriter& writer) {
        ASSERT_TRUE(writer.begin(200, {}));
        ASSERT_TRUE(writer.write("x"));
        gone.set_value(os::waitReady(writer.socket(), POLLRDHUP, soon()).has_value());
    });
    std::atomic<bool> done = false;
    CurlCallbacks callbacks;
    callbacks.on_data = [&](std::string_view) {
        data.signal();
        return OnDataVerdict::kContinue;
    };
    callbacks.on_done = [&](const CurlResult&) { done = true; };
    auto id = curl_->start(post(*server, "/"), callbacks);
    ASSERT_TRUE(os::waitReady(data.fd(), POLLIN, soon()));
    curl_->cancel(id);
    curl_->cancel(id);
    curl_->cancel(12345);
    EXPECT_TRUE(gone.get_future().get());
    EXPECT_FALSE(done);
}

TEST_F(CurlMultiTest, CancelAndAbortFromWithinCallbacks) {
    auto server = serveOn([](const Request&, ResponseWriter& writer) {
        ASSERT_TRUE(writer.begin(200, {}));
        while (writer.write(std::string(1000, 'x'))) {
        }
    });
    std::atomic<int> chunks = 0;
    std::atomic<TransferId> id = 0;
    std::promise<void> started, cancelled;
    auto go = started.get_future().share();
    CurlCallbacks callbacks;
    callbacks.on_data = [&](std::string_view) {
        go.wait();
        ++chunks;
        curl_->cancel(id);
        cancelled.set_value();
        return OnDataVerdict::kContinue;
    };
    callbacks.on_done = [&](const CurlResult&) { ADD_FAILURE() << "called after cancel"; };
    id = curl_->start(post(*server, "/"), callbacks);
    started.set_value();
    cancelled.get_future().get();

    std::promise<CurlResult> done;
    callbacks.on_data = [](std::string_view) { return OnDataVerdict::kAbort; };
    callbacks.on_done = [&](CurlResult result) { done.set_value(std::move(result)); };
    curl_->start(post(*server, "/"), callbacks);
    auto result = done.get_future().get();
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code, ErrorCode::kCancelled);
    EXPECT_EQ(result.http_status, 200);
    EXPECT_EQ(chunks, 1);
}

TEST_F(CurlMultiTest, PauseGivesTheSameBytesAgainAfterResume) {
    auto server = serveOn(echo);
    std::promise<void> paused, done;
    std::atomic<bool> open = false;
    std::string body;
    CurlCallbacks callbacks;
    callbacks.on_data = [&](std::string_view chunk) {
        if (!open) {
            paused.set_value();
            return OnDataVerdict::kPause;
        }
        body.append(chunk);
        return OnDataVerdict::kContinue;
    };
    callbacks.on_done = [&](const CurlResult& result) {
        EXPECT_FALSE(result.error);
        done.set_value();
    };
    auto id = curl_->start(post(*server, "/p", "hello"), callbacks);
    paused.get_future().get();
    open = true;
    curl_->resume(id);
    done.get_future().get();
    EXPECT_EQ(body, "POST /p hello");
}

// The numbers of closed sockets come again, for others.
TEST_F(CurlMultiTest, ConnectionsThatAreClosedWhileIdleMakeRoomForNewOnes) {
    constexpr int kTogether = 8;
    for (int turn = 0; turn < 10; ++turn) {
        auto server = serveOn(echo);
        for (int again = 0; again < 2; ++again)
            ASSERT_TRUE(performTogether(*server, kTogether));
    }
}

TEST_F(CurlMultiTest, ManyAtOnceAndDestructionInTheMiddle) {
    auto server = serveOn(echo);
    ASSERT_TRUE(performTogether(*server, 200));
    std::atomic<bool> destroyed = false;
    for (int i = 0; i < 20; ++i) {
        CurlCallbacks callbacks;
        callbacks.on_done = [&](const CurlResult&) { EXPECT_FALSE(destroyed); };
        curl_->start(post(*server, "/"), callbacks);
    }
    curl_.reset();
    destroyed = true;
}

}  // namespace
}  // namespace aegis::net
