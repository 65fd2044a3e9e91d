#include "wire/http1.h"

#include <gtest/gtest.h>

#include "wire/target.h"

namespace aegis::wire {
namespace {

ErrorCode headError(std::string_view bytes) {
    auto size = findHeadEnd(bytes);
    if (!size) return size.error().code;
    if (*size == 0) return ErrorCode::kInternal;
    auto head = parseRequestHead(bytes.substr(0, *size));
    if (!head) return head.error().code;
    auto framing = requestFraming(*head);
    return framing ? ErrorCode::kCancelled : framing.error().code;
}

constexpr ErrorCode kAccepted = ErrorCode::kCancelled;

TEST(Http1, ParsesARequestHead) {
    std::string_view bytes = "POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Y:  z \r\n\r\nrest";
    auto size = findHeadEnd(bytes);
    ASSERT_TRUE(size);
    EXPECT_EQ(*size, bytes.size() - 4);
    auto head = parseRequestHead(bytes.substr(0, *size));
    ASSERT_TRUE(head);
    EXPECT_EQ(head->method, "POST");
    EXPECT_EQ(head->target, "/a?b=c");
    EXPECT_EQ(head->minor_version, 1);
    EXPECT_EQ(head->headers.get("x-y"), "z");
}

TEST(Http1, FindsTheEndHoweverTheHeadArrives) {
    std::string_view bytes = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for (std::size_t n = 0; n < bytes.size(); ++n) {
        auto size = findHeadEnd(bytes.substr(0, n));
        ASSERT_TRUE(size) << n;
        EXPECT_EQ(*size, 0U) << n;
        auto whole = findHeadEnd(bytes, kDefaultHeadLimit, n);
        ASSERT_TRUE(whole) << n;
        EXPECT_EQ(*whole, bytes.size()) << n;
    }
}

TEST(Http1, RefusesWhatTwoParsersCouldReadDifferently) {
    auto with = [](std::string_view fields) {
        return headError("POST / HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n");
    };
    EXPECT_EQ(with(""), kAccepted);
    EXPECT_EQ(with("Content-Length: 3\r\n"), kAccepted);
    EXPECT_EQ(with("Transfer-Encoding: chunked\r\n"), kAccepted);
    EXPECT_EQ(with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("Content-Length: 3\r\nContent-Length: 3\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("Content-Length: 3, 3\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("Content-Length: +3\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("Content-Length: -1\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("Content-Length: 99999999999999999999\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("Content-Length:\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("Transfer-Encoding: gzip\r\n"), ErrorCode::kUnsupported);
    EXPECT_EQ(with("Transfer-Encoding: gzip, chunked\r\n"), ErrorCode::kUnsupported);
    EXPECT_EQ(with("X: a\r\n b\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("X : a\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("X: a\rb\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("X: a\nY: b\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with(std::string_view("X: a\0b\r\n", 9)), ErrorCode::kInvalid);
    EXPECT_EQ(with("Host: y\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(with("no colon\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(headError("GET / HTTP/1.1\r\n\r\n"), ErrorCode::kInvalid);
    EXPECT_EQ(headError("GET / HTTP/1.0\r\n\r\n"), kAccepted);
    EXPECT_EQ(headError("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
              ErrorCode::kInvalid);
    EXPECT_NE(headError("GET / HTTP/2.0\r\nHost: x\r\n\r\n"), kAccepted);
    EXPECT_NE(headError("GET  / HTTP/1.1\r\nHost: x\r\n\r\n"), kAccepted);
    EXPECT_NE(headError("\x16\x03\x01\x02\r\n\r\n"), kAccepted);
}

TEST(Http1, BoundsTheHead) {
    std::string many = "GET / HTTP/1.1\r\nHost: x\r\n";
    for (std::size_t i = 0; i < kMaxHeaderFields; ++i)
        many += "a: b\r\n";
    EXPECT_EQ(headError(many + "\r\n"), ErrorCode::kTooLarge);
    std::string large = "GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(kDefaultHeadLimit, 'a');
    EXPECT_EQ(headError(large), ErrorCode::kTooLarge);
}

TEST(Http1, SerialisesWithoutLettingAValueSplitTheMessage) {
    ResponseHead head;
    head.status = 201;
    head.headers = {{"A", "b"}, {"Evil", "x\r\nSet-Cookie: y"}, {"Bad Name", "z"}};
    EXPECT_EQ(serialize(head), "HTTP/1.1 201 Created\r\nA: b\r\n\r\n");
}

TEST(Http1, ResponseFraming) {
    auto framing = [](std::string_view bytes, std::string_view method) {
        return *responseFraming(*parseResponseHead(bytes), method);
    };
    EXPECT_EQ(framing("HTTP/1.1 200 OK\r\n\r\n", "GET").framing, Framing::kUntilClose);
    EXPECT_EQ(framing("HTTP/1.1 204 No Content\r\n\r\n", "GET").framing, Framing::kNone);
    EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD").framing,
              Framing::kNone);
    EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET").length, 5U);
}

TEST(Http1, KeepAlive) {
    EXPECT_TRUE(keepsAlive(1, {}));
    EXPECT_FALSE(keepsAlive(0, {}));
    EXPECT_TRUE(keepsAlive(0, {{"Connection", "Keep-Alive"}}));
    EXPECT_FALSE(keepsAlive(1, {{"Connection", "te, Close"}}));
}

/// Feeds `bytes` in pieces of `step`; the decoded text, or the name of the error.
std::string decode(BodyFraming framing, std::string_view bytes, std::size_t step,
                   std::uint64_t limit = 1000) {
    BodyDecoder decoder(framing, limit);
    std::string out;
    while (!bytes.empty() && !decoder.done()) {
        auto used = decoder.feed(bytes.substr(0, step), out);
        if (!used) return std::string(errorTraits(used.error().code).name);
        bytes.remove_prefix(*used);
    }
    if (auto end = decoder.finishAtEof(); !end) return "cut";
    return out + "|" + std::string(bytes);
}

TEST(BodyDecoder, ChunkedHoweverItIsCut) {
    std::string_view bytes = "4\r\nWiki\r\n6;ext=1\r\npedia \r\n00\r\nX: y\r\n\r\nnext";
    for (std::size_t step = 1; step <= bytes.size(); ++step)
        EXPECT_EQ(decode({Framing::kChunked, 0}, bytes, step).substr(0, 11), "Wikipedia |");
    EXPECT_EQ(decode({Framing::kChunked, 0}, bytes, bytes.size()), "Wikipedia |next");
}

TEST(BodyDecoder, RefusesMalformedChunks) {
    for (std::string_view bad :
         {"x\r\n", "4 \r\nWiki\r\n0\r\n\r\n", "4\nWiki\r\n0\r\n\r\n", "4\r\nWikiX\r\n0\r\n\r\n",
          "-1\r\n", "0x4\r\n", "\r\n", "ffffffffffffffffff\r\n", "0\r\nno colon\r\n\r\n",
          "4\r\nWiki\n0\r\n\r\n"})
        EXPECT_EQ(decode({Framing::kChunked, 0}, bad, 3), "invalid") << bad;
    EXPECT_EQ(decode({Framing::kChunked, 0}, "4\r\nWi", 3), "cut");
    EXPECT_EQ(decode({Framing::kChunked, 0}, std::string(5000, '0'), 100), "invalid");
}

TEST(BodyDecoder, LengthLimitAndClose) {
    EXPECT_EQ(decode({Framing::kLength, 3}, "abcdef", 2), "abc|def");
    EXPECT_EQ(decode({Framing::kLength, 3}, "ab", 2), "cut");
    EXPECT_EQ(decode({Framing::kUntilClose, 0}, "abc", 2), "abc|");
    EXPECT_EQ(decode({Framing::kLength, 11}, "abc", 2, 10), "too_large");
    EXPECT_EQ(decode({Framing::kUntilClose, 0}, "abc", 1, 2), "too_large");
    EXPECT_EQ(decode({Framing::kChunked, 0}, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 1, 2), "too_large");
    EXPECT_EQ(decode({Framing::kNone, 0}, "abc", 1), "|abc");
}

TEST(Chunks, Encode) {
    EXPECT_EQ(encodeChunk("hello hello hello"), "11\r\nhello hello hello\r\n");
    EXPECT_EQ(encodeChunk(""), "");
}

std::string pathOf(std::string_view target) {
    auto parsed = parseTarget(target);
    return parsed ? parsed->path : "error";
}

TEST(Target, NormalisesAfterDecoding) {
    EXPECT_EQ(pathOf("/a/b"), "/a/b");
    EXPECT_EQ(pathOf("/"), "/");
    EXPECT_EQ(pathOf("//a///b/"), "/a/b");
    EXPECT_EQ(pathOf("/a/./b/../c"), "/a/c");
    EXPECT_EQ(pathOf("/a%20b"), "/a b");
    EXPECT_EQ(pathOf("/a/%2e%2e/b"), "/b");
    EXPECT_EQ(pathOf("/a%2f..%2F..%2Fetc"), "error");
    EXPECT_EQ(pathOf("/.."), "error");
    EXPECT_EQ(pathOf("/%00"), "error");
    EXPECT_EQ(pathOf("/%4"), "error");
    EXPECT_EQ(pathOf("/%zz"), "error");
    EXPECT_EQ(pathOf("/a#b"), "error");
    EXPECT_EQ(pathOf(""), "error");
    EXPECT_EQ(pathOf("example.com:443"), "error");
    EXPECT_EQ(pathOf("*"), "*");
    EXPECT_EQ(pathOf("http://host:1/a?b"), "/a");
    EXPECT_EQ(pathOf("http://host"), "/");
    EXPECT_EQ(pathOf("http://u@host/"), "error");
}

TEST(Target, Query) {
    auto target = parseTarget("/x?a=1&b=c%20d+e&flag&a=2&=v");
    ASSERT_TRUE(target);
    EXPECT_EQ(target->query.get("a"), "1");
    EXPECT_EQ(target->query.get("b"), "c d e");
    ASSERT_NE(target->query.find("flag"), nullptr);
    EXPECT_EQ(*target->query.find("flag"), "");
    EXPECT_EQ(target->query.find("missing"), nullptr);
    EXPECT_EQ(target->query.size(), 5U);
    std::string many = "/?";
    for (int i = 0; i < 101; ++i)
        many += "a&";
    EXPECT_FALSE(parseTarget(many));
}

TEST(Percent, RoundTrips) {
    std::string all;
    for (int c = 1; c < 256; ++c)
        all.push_back(static_cast<char>(c));
    EXPECT_EQ(percentDecode(percentEncode(all)), all);
    EXPECT_EQ(percentEncode("a/b c", true), "a/b%20c");
}

TEST(Headers, NamesIgnoreCase) {
    Headers headers{{"Content-Type", "a"}, {"content-type", "b"}};
    EXPECT_EQ(headers.get("CONTENT-TYPE"), "a");
    EXPECT_EQ(headers.count("content-type"), 2U);
    headers.set("Content-type", "c");
    EXPECT_EQ(headers.size(), 1U);
    EXPECT_EQ(headers.get("none", "x"), "x");
}

}  // namespace
}  // namespace aegis::wire
