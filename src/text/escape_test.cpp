#include "text/escape.h"

#include <gtest/gtest.h>

#include "text/json.h"

namespace aegis::text {
namespace {

TEST(Escape, ShowsWhatATerminalWouldObey) {
    EXPECT_EQ(escapeControl("a\x1b[31mred\x07\x7f"), "a\\x1b[31mred\\x07\\x7f");
    EXPECT_EQ(escapeControl("\xc2\x9b"
                            "31m"),
              "\\u009b31m");
    EXPECT_EQ(escapeControl("a\xe2\x80\xae"
                            "b\xe2\x81\xa6"
                            "c\xe2\x80\xa8"),
              "a\\u202eb\\u2066c\\u2028");
    EXPECT_EQ(escapeControl("\xff\xc0\x80"), "\\xff\\xc0\\x80");
    EXPECT_EQ(escapeControl(std::string_view("\0", 1)), "\\x00");
    EXPECT_EQ(escapeControl("caf\xc3\xa9 \xf0\x9f\x98\x80 C:\\n"),
              "caf\xc3\xa9 \xf0\x9f\x98\x80 C:\\n");
}

TEST(Escape, KeepsLinesOnlyWhenAsked) {
    EXPECT_EQ(escapeControl("a\n\tb\r\n"), "a\\n\\tb\\r\\n");
    EXPECT_EQ(escapeControl("a\n\tb\r\n", Lines::kKeep), "a\n\tb\\r\n");
}

TEST(Escape, CutsBetweenCharacters) {
    std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    for (std::size_t n = 0; n <= text.size() + 1; ++n) {
        auto head = headUtf8(text, n);
        auto tail = tailUtf8(text, n);
        EXPECT_TRUE(json::isUtf8(head) && text.starts_with(head) && head.size() <= n) << n;
        EXPECT_TRUE(json::isUtf8(tail) && text.ends_with(tail) && tail.size() <= n) << n;
        EXPECT_GE(head.size() + 3, std::min(n, text.size()));
        EXPECT_GE(tail.size() + 3, std::min(n, text.size()));
    }
    std::string broken(10, '\x80');
    EXPECT_EQ(headUtf8(broken, 4).size(), 4U);
    EXPECT_EQ(tailUtf8(broken, 4).size(), 4U);
}

TEST(Escape, Shortens) {
    EXPECT_EQ(shorten("abcdef", 6), "abcdef");
    EXPECT_EQ(shorten("abcdefg", 6), "abc...");
    EXPECT_EQ(shorten("ab\xc3\xa9xyz", 6), "ab...");
}

}  // namespace
}  // namespace aegis::text
