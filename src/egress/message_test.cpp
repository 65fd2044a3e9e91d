#include "egress/message.h"

#include <gtest/gtest.h>

namespace aegis::egress {
namespace {

using namespace std::string_literals;

Result<ProxyRequest> read(std::string head) {
    auto end = wire::findHeadEnd(head);
    if (!end) return end.error();
    EXPECT_EQ(*end, head.size());
    auto parsed = wire::parseRequestHead(head);
    if (!parsed) return parsed.error();
    return readProxyRequest(*parsed);
}

TEST(ProxyRequestTest, TheTargetIsTheAuthority) {
    auto request = read(
        "GET HTTP://Api.Example.com:8080/a?b=c HTTP/1.1\r\nHost: api.example.com:8080\r\n"
        "Proxy-Authorization: x\r\nConnection: keep-alive, X-Drop, Host\r\nX-Drop: 1\r\n"
        "Upgrade: h2c\r\nTE: trailers\r\nAccept: */*\r\n\r\n");
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->to.host.text, "api.example.com");
    EXPECT_EQ(request->to.port, 8080);
    EXPECT_EQ(wire::serialize(request->forwarded),
              "GET /a?b=c HTTP/1.1\r\nAccept: */*\r\nHost: api.example.com:8080\r\nConnection: "
              "close\r\n\r\n");
    EXPECT_EQ(read("GET http://a.com?x HTTP/1.1\r\nHost: a.com:80\r\n\r\n")->forwarded.target,
              "/?x");
}

TEST(ProxyRequestTest, WhatTwoReadersCouldTakeApartDifferentlyIsRefused) {
    const std::string line = "POST http://a.com/ HTTP/1.1\r\nHost: a.com\r\n";
    for (const auto& head :
         {"GET / HTTP/1.1\r\nHost: a.com\r\n\r\n"s,
          "GET https://a.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n"s,
          "GET http://a.com/ HTTP/1.1\r\nHost: b.com\r\n\r\n"s,
          "GET http://a.com/ HTTP/1.1\r\nHost: a.com:81\r\n\r\n"s,
          "GET http://a.com/ HTTP/1.1\r\n\r\n"s,
          "GET http://a.com/ HTTP/1.1\r\nHost: a.com\r\nHost: a.com\r\n\r\n"s,
          "GET http://b.com@a.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n"s,
          "GET http://a.com/#x HTTP/1.1\r\nHost: a.com\r\n\r\n"s,
          "GET http://a.com\\b/ HTTP/1.1\r\nHost: a.com\r\n\r\n"s,
          line + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
          line + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
          line + "Content-Length: 1, 1\r\n\r\n", line + "Content-Length: +1\r\n\r\n",
          line + "Transfer-Encoding: gzip, chunked\r\n\r\n",
          line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
          line + "X: a\r\n b\r\n\r\n", line + "Content-Length : 1\r\n\r\n",
          line + "X: a\nTransfer-Encoding: chunked\r\n\r\n"})
        EXPECT_FALSE(read(head)) << head;
}

TEST(RequestBodyTest, OneBodyAndNothingBehindIt) {
    auto body = requestBody({wire::Framing::kLength, 3}, 100);
    std::string out;
    ASSERT_TRUE(body->feed("abcGET http://evil/ HTTP/1.1\r\n", out));
    EXPECT_EQ(out, "abc");
    EXPECT_TRUE(body->done());
    auto chunks = requestBody({wire::Framing::kChunked, 0}, 100);
    out.clear();
    ASSERT_TRUE(chunks->feed("3;ext=1\r\nabc\r\n0\r\nX: y\r\n\r\nGET /", out));
    EXPECT_EQ(out, "3\r\nabc\r\n0\r\n\r\n");
}

std::string pass(std::vector<std::string> pieces, bool ends, std::string method = "GET",
                 int minor = 1) {
    auto filter = responseTo(std::move(method), minor, 1000);
    std::string all;
    for (const auto& piece : pieces) {
        std::string out;
        auto fed = filter->feed(piece, out);
        all += out;
        if (!fed) return all + "!";
    }
    std::string out;
    if (ends && !filter->done() && !filter->finish(out)) out += "!";
    return all + out + (filter->done() ? "." : "");
}

TEST(ResponseTest, OneAnswerFramedAnew) {
    EXPECT_EQ(pass({"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-al",
                    "ive, X\r\nX: 1\r\n\r\nhiHTTP/1.1 200"},
                   false),
              "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi.");
    EXPECT_EQ(
        pass({"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
              "2\r\nhi\r\n0\r\n\r\n"},
             false),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: "
        "chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n.");
    EXPECT_EQ(pass({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
                   false, "GET", 0),
              "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi.");
    EXPECT_EQ(pass({"HTTP/1.0 200 OK\r\n\r\nall"}, true),
              "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall.");
    EXPECT_EQ(pass({"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"}, false, "HEAD"),
              "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n.");
}

TEST(ResponseTest, WhatIsBrokenIsABadGatewayOrIsCut) {
    for (auto head : {"HTTP/1.1 101 Switching\r\n\r\n", "SSH-2.0-x\r\n\r\n",
                      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"})
        EXPECT_TRUE(pass({head}, false).starts_with("HTTP/1.1 502 ")) << head;
    EXPECT_TRUE(pass({}, true).starts_with("HTTP/1.1 502 "));
    EXPECT_TRUE(pass({"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"}, true).ends_with("abc!"));
    EXPECT_TRUE(pass({"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc"}, false).ends_with("!"));
}

}  // namespace
}  // namespace aegis::egress
