#include "net/curl/url.h"

#include <gtest/gtest.h>

namespace aegis::net {
namespace {

std::string problemOf(const std::string& text, const Url* base = nullptr) {
    auto url = parseUrl(text, base);
    EXPECT_FALSE(url) << text << " is " << (url ? url->text : "");
    return url ? std::string() : url.error().message;
}

TEST(Url, IsTakenApart) {
    auto url = parseUrl("https://Example.test:8443/a%20b/../c d?q=1&r=\xC3\xA9#part");
    ASSERT_TRUE(url) << url.error().message;
    EXPECT_EQ(url->scheme, "https");
    EXPECT_EQ(url->port, 8443);
    EXPECT_EQ(url->text, "https://" + url->host + ":8443/c%20d?q=1&r=%c3%a9");
    EXPECT_EQ(parseUrl("http://h.test")->text, "http://h.test/");
    EXPECT_EQ(parseUrl("http://h.test")->port, 80);
    EXPECT_EQ(parseUrl("HTTPS://h.test/")->port, 443);
    EXPECT_EQ(parseUrl("http://[2001:db8::1]:81/")->host, "[2001:db8::1]");
}

TEST(Url, RelativeReferences) {
    auto base = parseUrl("https://h.test:444/a/b?q");
    ASSERT_TRUE(base);
    EXPECT_EQ(parseUrl("c", &*base)->text, "https://h.test:444/a/c");
    EXPECT_EQ(parseUrl("/c?d", &*base)->text, "https://h.test:444/c?d");
    EXPECT_EQ(parseUrl("//other.test/c", &*base)->text, "https://other.test/c");
    EXPECT_EQ(parseUrl("http://other.test", &*base)->scheme, "http");
    EXPECT_NE(problemOf("//u:p@other.test/", &*base), "");
    EXPECT_NE(problemOf("file:///etc/passwd", &*base), "");
}

TEST(Url, WhatIsRefused) {
    for (const char* text :
         {"ftp://h.test/", "file:///etc/passwd", "gopher://h.test/", "scp://h.test/", "h.test/a"})
        EXPECT_NE(problemOf(text), "") << text;
    for (const char* text : {"http://u@h.test/", "http://u:p@h.test/", "http://:p@h.test/"})
        EXPECT_EQ(problemOf(text), "a URL with a user or a password is not allowed") << text;
    EXPECT_EQ(problemOf(""), "the URL is empty");
    EXPECT_EQ(problemOf("http://h.test/\r\nX: y"), "the URL has a control character");
    EXPECT_EQ(problemOf(std::string("http://h.test/\0x", 16)), "the URL has a control character");
    EXPECT_EQ(problemOf("http://h.test/" + std::string(kMaxUrlBytes, 'a')),
              "the URL is longer than 8192 bytes");
    for (const char* text : {"http://", "http://h.test:0/", "http://h.test:99999/",
                             "http://a b.test/", "http://[::1/", "http://h.test\\@x.test/"})
        EXPECT_NE(problemOf(text), "") << text;
}

/// Reads what a URL is made of, at random, and again what it was read as.
TEST(Url, WhatWasReadIsReadTheSameAgain) {
    const std::string kPieces[] = {"http",     "https", ":",   "/",   "//",  "@",       "a",
                                   "h.test",   "%",     "%2f", "%00", "\\",  "#",       "?",
                                   ".",        "..",    "[",   "]",   "::1", "127.1",   "0x7f",
                                   "\xC3\xA9", " ",     "80",  ";",   "&",   "http://", "https://"};
    std::uint64_t state = 42;
    int read = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string text = i % 2 == 0 ? "http://" : "";
        for (int n = 0; n < 8; ++n) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            text += kPieces[(state >> 33U) % std::size(kPieces)];
        }
        auto url = parseUrl(text);
        if (!url) continue;
        ++read;
        EXPECT_TRUE(url->scheme == "http" || url->scheme == "https") << text;
        EXPECT_EQ(url->text.find('#'), std::string::npos) << text;
        EXPECT_FALSE(url->host.empty()) << text;
        auto again = parseUrl(url->text);
        ASSERT_TRUE(again) << text << " was read as " << url->text;
        EXPECT_EQ(again->host, url->host) << text;
        EXPECT_EQ(again->port, url->port) << text;
    }
    EXPECT_GT(read, 100);
}

}  // namespace
}  // namespace aegis::net
