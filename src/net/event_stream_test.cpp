#include "net/event_stream.h"

#include <sys/resource.h>

#include <atomic>
#include <future>
#include <vector>

#include "net/test_support.h"

namespace aegis::net {
namespace {

std::shared_ptr<const std::string> piece(std::string text) {
    return std::make_shared<const std::string>(std::move(text));
}

std::string readToEnd(int fd) {
    std::string out;
    std::array<char, 4096> chunk;
    while (auto n = os::recvSome(fd, chunk, soon())) {
        if (*n == 0) return out;
        out.append(chunk.data(), *n);
    }
    return out + "<error>";
}

struct Watched {
    os::Fd client;
    StreamId id = 0;
    std::shared_ptr<std::promise<StreamEnd>> ended = std::make_shared<std::promise<StreamEnd>>();
    StreamEnd end() { return ended->get_future().get(); }
};

Watched watch(StreamHub& hub, StreamOptions options = {}) {
    Watched watched;
    auto pair = *os::socketPair();
    watched.client = std::move(pair.first);
    options.on_closed = [ended = watched.ended](StreamId, StreamEnd why) { ended->set_value(why); };
    watched.id = hub.add(std::move(pair.second), std::move(options));
    return watched;
}

TEST(StreamHub, SendsChunksInOrderAndEnds) {
    auto hub = *StreamHub::create();
    auto watched = watch(*hub);
    EXPECT_TRUE(hub->push(watched.id, piece("one")));
    EXPECT_TRUE(hub->push(watched.id, piece("sixteen bytes...")));
    hub->finish(watched.id);
    EXPECT_FALSE(hub->push(watched.id, piece("late")));
    EXPECT_EQ(readToEnd(watched.client.get()), "3\r\none\r\n10\r\nsixteen bytes...\r\n0\r\n\r\n");
    EXPECT_EQ(watched.end(), StreamEnd::kFinished);
    EXPECT_EQ(hub->size(), 0U);
}

TEST(StreamHub, PlainForHttp10) {
    auto hub = *StreamHub::create();
    StreamOptions options;
    options.chunked = false;
    auto watched = watch(*hub, options);
    hub->push(watched.id, piece("a"));
    hub->finish(watched.id);
    EXPECT_EQ(readToEnd(watched.client.get()), "a");
}

TEST(StreamHub, EveryByteArrivesThroughAFullSocket) {
    auto hub = *StreamHub::create();
    StreamOptions options;
    options.chunked = false;
    options.queue_limit_bytes = 64U << 20;
    auto watched = watch(*hub, options);
    std::string expected;
    for (int i = 0; i < 3000; ++i) {
        std::string text(static_cast<std::size_t>(i), static_cast<char>('a' + i % 26));
        text += '\n';
        expected += text;
        ASSERT_TRUE(hub->push(watched.id, piece(text)));
    }
    hub->finish(watched.id);
    EXPECT_TRUE(readToEnd(watched.client.get()) == expected);
    EXPECT_EQ(watched.end(), StreamEnd::kFinished);
}

TEST(StreamHub, NoticesThatTheClientIsGone) {
    auto hub = *StreamHub::create();
    auto watched = watch(*hub);
    watched.client.reset();
    EXPECT_EQ(watched.end(), StreamEnd::kGone);
    EXPECT_FALSE(hub->push(watched.id, piece("x")));
}

TEST(StreamHub, TheTooSlowAreClosedAndSlowNobodyElse) {
    auto hub = *StreamHub::create();
    StreamOptions options;
    options.queue_limit_bytes = 1U << 20;
    auto slow = watch(*hub, options);
    auto good = watch(*hub, options);
    auto text = piece(std::string(100'000, 'x'));
    bool open = true;
    for (int i = 0; i < 100 && open; ++i)
        open = hub->push(slow.id, text);
    EXPECT_FALSE(open);
    EXPECT_EQ(slow.end(), StreamEnd::kTooSlow);
    EXPECT_TRUE(hub->push(good.id, piece("hello")));
    hub->finish(good.id);
    EXPECT_EQ(readToEnd(good.client.get()), "5\r\nhello\r\n0\r\n\r\n");

    options.progress_ms = 50;
    options.queue_limit_bytes = 64U << 20;
    auto stalled = watch(*hub, options);
    for (int i = 0; i < 100; ++i)
        hub->push(stalled.id, text);
    EXPECT_EQ(stalled.end(), StreamEnd::kTooSlow);
}

TEST(StreamHub, HeartbeatsWhenItIsQuiet) {
    auto hub = *StreamHub::create();
    StreamOptions options;
    options.heartbeat_ms = 20;
    auto watched = watch(*hub, options);
    std::string got;
    std::array<char, 64> chunk;
    std::string beat = "8\r\n: ping\n\n\r\n";
    while (got.size() < 3 * beat.size()) {
        auto n = os::recvSome(watched.client.get(), chunk, soon());
        ASSERT_TRUE(n && *n > 0);
        got.append(chunk.data(), *n);
    }
    EXPECT_EQ(got.substr(0, 3 * beat.size()), beat + beat + beat);
}

TEST(StreamHub, CloseAndDestructionTellTheirReason) {
    auto hub = *StreamHub::create();
    auto closed = watch(*hub);
    hub->close(closed.id);
    EXPECT_EQ(closed.end(), StreamEnd::kShutdown);
    auto left = watch(*hub);
    hub.reset();
    EXPECT_EQ(left.end(), StreamEnd::kShutdown);
}

TEST(StreamHub, AThousandWatchersShareTheBytes) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2200) GTEST_SKIP() << "too few descriptors";
    auto hub = *StreamHub::create();
    std::vector<Watched> watchers;
    for (int i = 0; i < 1000; ++i)
        watchers.push_back(watch(*hub));
    std::string expected;
    for (int e = 0; e < 20; ++e) {
        auto text = piece("event " + std::to_string(e));
        for (auto& watcher : watchers)
            ASSERT_TRUE(hub->push(watcher.id, text));
        expected += wire::encodeChunk(*text);
    }
    for (auto& watcher : watchers)
        hub->finish(watcher.id);
    expected += wire::kLastChunk;
    for (auto& watcher : watchers)
        ASSERT_EQ(readToEnd(watcher.client.get()), expected);
}

TEST(StreamHub, TakesOverFromTheServer) {
    auto hub = *StreamHub::create();
    std::promise<StreamId> added;
    auto server = serveOn([&](const Request&, ResponseWriter& writer) {
        ASSERT_TRUE(writer.begin(200, {{"Content-Type", "text/event-stream"}}));
        StreamOptions options;
        options.chunked = writer.chunked();
        added.set_value(hub->add(writer.detach(), options));
    });
    HttpConnection client(endpointOf(*server));
    std::thread pusher([&] {
        auto id = added.get_future().get();
        for (int i = 0; i < 100; ++i)
            hub->push(id, piece("data: x\n\n"));
        hub->finish(id);
    });
    std::size_t bytes = 0;
    auto answer = client.stream({}, soon(), {}, [&](std::string_view chunk) {
        bytes += chunk.size();
        return true;
    });
    pusher.join();
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(bytes, 900U);
}

}  // namespace
}  // namespace aegis::net
