#include "client/http_service.h"

#include <atomic>
#include <thread>

#include "net/test_support.h"

namespace aegis::client {
namespace {

std::unique_ptr<HttpService> serviceOf(const net::Server& server) {
    ClientOptions options;
    options.daemon_addr = "127.0.0.1:" + std::to_string(server.port());
    auto service = HttpService::create(std::move(options), os::systemClock());
    EXPECT_TRUE(service);
    return std::move(*service);
}

bool wantsStream(const net::Request& request) {
    return request.headers.hasToken("Accept", "text/event-stream");
}

bool beginStream(net::ResponseWriter& writer) {
    return bool(writer.begin(200, {{"Content-Type", "text/event-stream"}}));
}

// An execution that waits for a model says nothing for minutes; then the daemon restarts.
TEST(HttpService, AStreamThatWasSilentForLongIsJoinedAgain) {
    constexpr std::int64_t kPatienceMs = 100;
    std::atomic<int> streams = 0;
    auto server = net::serveOn([&](const net::Request& request, net::ResponseWriter& writer) {
        if (!wantsStream(request)) {
            (void)writer.sendJson(200, R"({"items":[],"next_cursor":"n7"})");
            return;
        }
        EXPECT_TRUE(beginStream(writer));
        if (++streams < 3)
            os::pauseMs(3 * kPatienceMs);
        else
            EXPECT_TRUE(writer.write("id: n8\ndata: {\"cursor\":\"n8\"}\n\n"));
        (void)writer.end();
    });
    int events = 0;
    auto done = serviceOf(*server)->watchNodeEvents({}, {}, kPatienceMs, [&](const json::Value& e) {
        EXPECT_EQ(json::getString(e, "cursor"), "n8");
        ++events;
        return false;
    });
    EXPECT_TRUE(done) << done.error().message;
    EXPECT_EQ(streams, 3);
    EXPECT_EQ(events, 1);
}

TEST(HttpService, ADaemonThatIsNoLongerThereIsGivenUp) {
    auto server = net::serveOn([&](const net::Request& request, net::ResponseWriter& writer) {
        if (!wantsStream(request)) {
            (void)writer.sendJson(200, R"({"id":"00000000-0000-4000-8000-000000000000"})");
            return;
        }
        (void)beginStream(writer);
        (void)writer.end();
    });
    auto service = serviceOf(*server);
    auto stop = [](const json::Value&) { return false; };
    std::thread closer([&] {
        os::pauseMs(100);
        server->stop(net::soon(0));
        server.reset();
    });
    auto done = service->watchExecution({}, "0000", 0, 300, stop);
    closer.join();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::kUnreachable);
    EXPECT_NE(done.error().hint.find("aegis execution watch 00000000"), std::string::npos);
    // One that never answered is not waited for at all.
    ClientOptions options;
    options.daemon_addr = "127.0.0.1:1";
    auto stranger = HttpService::create(std::move(options), os::systemClock());
    ASSERT_TRUE(stranger);
    done = (*stranger)->watchExecution({}, "0000", 0, 3'600'000, stop);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::kUnreachable);
}

}  // namespace
}  // namespace aegis::client
