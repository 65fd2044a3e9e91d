#include <gtest/gtest.h>

#include <vector>

#include "wire/ndjson.h"
#include "wire/sse.h"

namespace aegis::wire {
namespace {

/// "event|id|data" of each event, with the bytes fed in pieces of `step`.
std::vector<std::string> readSse(std::string_view bytes, std::size_t step) {
    SseReader reader(1000);
    std::vector<std::string> out;
    while (!bytes.empty()) {
        auto fed = reader.feed(bytes.substr(0, step), [&](const SseEvent& event) {
            out.push_back(event.event + "|" + event.id + "|" + event.data);
        });
        EXPECT_TRUE(fed);
        bytes.remove_prefix(std::min(step, bytes.size()));
    }
    return out;
}

TEST(Sse, ReadsTheStandardsForms) {
    std::string_view bytes =
        "\xEF\xBB\xBF: comment\n\nevent: add\r\nid: 1\r\ndata: a\r\ndata:b\r\n\r\n"
        "data\rdata:  x\r\revent: lost\n\nunknown: 1\ndata: last\n\ndata: unfinished";
    std::vector<std::string> expected{"add|1|a\nb", "|1|\n x", "|1|last"};
    for (std::size_t step = 1; step <= bytes.size(); ++step)
        EXPECT_EQ(readSse(bytes, step), expected) << step;
}

TEST(Sse, RoundTrips) {
    SseEvent event{"note", "17", "one\r\ntwo\rthree\n", 2500};
    SseReader reader(1000);
    int seen = 0;
    ASSERT_TRUE(reader.feed(encodeSseComment("ping") + encodeSse(event), [&](const SseEvent& e) {
        ++seen;
        EXPECT_EQ(e.event, "note");
        EXPECT_EQ(e.id, "17");
        EXPECT_EQ(e.data, "one\ntwo\nthree\n");
        EXPECT_EQ(e.retry_ms, 2500);
    }));
    EXPECT_EQ(seen, 1);
    EXPECT_FALSE(reader.midEvent());
}

TEST(Sse, AFieldCannotSmuggleAnother) {
    EXPECT_EQ(encodeSse({"a\ndata: x", "1\r2", "d", {}}), "event: adata: x\nid: 12\ndata: d\n\n");
}

TEST(Sse, IsBounded) {
    SseReader reader(10);
    auto ignore = [](const SseEvent&) {};
    EXPECT_TRUE(reader.feed("data: 1\n", ignore));
    EXPECT_TRUE(reader.midEvent());
    auto fed = reader.feed("data: 23456789012345\n", ignore);
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().code, ErrorCode::kTooLarge);
    EXPECT_FALSE(reader.feed("\n", ignore));
}

TEST(Ndjson, SplitsHoweverItIsCut) {
    std::string_view bytes = "{\"a\":1}\n\r\n{\"b\":2}\r\n\n{\"c\":3}";
    std::vector<std::string> expected{"{\"a\":1}", "{\"b\":2}", "{\"c\":3}"};
    for (std::size_t step = 1; step <= bytes.size(); ++step) {
        LineSplitter splitter(100);
        std::vector<std::string> lines;
        auto take = [&](std::string_view line) { lines.emplace_back(line); };
        for (std::size_t at = 0; at < bytes.size(); at += step)
            ASSERT_TRUE(splitter.feed(bytes.substr(at, step), take));
        ASSERT_TRUE(splitter.finish(take));
        EXPECT_EQ(lines, expected) << step;
    }
}

TEST(Ndjson, IsBounded) {
    LineSplitter splitter(4);
    auto ignore = [](std::string_view) {};
    EXPECT_TRUE(splitter.feed("1234\n1234", ignore));
    auto fed = splitter.feed("5", ignore);
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().code, ErrorCode::kTooLarge);
    EXPECT_FALSE(splitter.finish(ignore));
}

}  // namespace
}  // namespace aegis::wire
