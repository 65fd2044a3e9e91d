#include "text/regex.h"

#include <gtest/gtest.h>

#include <string>

namespace aegis::text {
namespace {

TEST(Regex, MatchesSomewhereInUtf8) {
    auto re = Regex::compile("^caf.$").value();
    EXPECT_TRUE(re.search("caf\xc3\xa9"));
    EXPECT_FALSE(re.search("a caf\xc3\xa9"));
    EXPECT_TRUE(Regex::compile("b+").value().search("abbc"));
    EXPECT_TRUE(Regex::compile("").value().search(""));
    EXPECT_FALSE(Regex::compile("a.b").value().search("a\nb"));
    EXPECT_TRUE(Regex::compile("(?s)a.b").value().search("a\nb"));
    EXPECT_TRUE(Regex::compile("\\x00end").value().search(std::string_view("x\0end", 5)));
}

TEST(Regex, FallsBackToBytes) {
    EXPECT_TRUE(Regex::compile("^a.z$").value().search("a\xffz"));
    EXPECT_TRUE(Regex::compile("PASS").value().search("\xff\xfe PASS"));
    EXPECT_TRUE(Regex::compile("\\x{20ac}?PASS").value().search("\xff\xfe PASS"));
}

TEST(Regex, NamesWhatIsWrongAndWhere) {
    auto re = Regex::compile("ab(c");
    ASSERT_FALSE(re);
    EXPECT_EQ(re.error().code, ErrorCode::kInvalid);
    EXPECT_NE(re.error().message.find("'ab(c'"), std::string::npos) << re.error().message;
    auto lookahead = Regex::compile(
        "\xc3\xa9"
        "a(?=b)");
    ASSERT_FALSE(lookahead);
    EXPECT_EQ(lookahead.error().details[0].column, 3) << lookahead.error().message;
    EXPECT_FALSE(Regex::compile("\xff"));
    EXPECT_FALSE(Regex::compile(std::string(100'000, 'a')));
    EXPECT_FALSE(Regex::compile("((a{100}){100}){100}"));
}

TEST(Regex, StaysLinear) {
    auto re = Regex::compile("(a+)+$").value();
    EXPECT_FALSE(re.search(std::string(1 << 20, 'a') + "b"));
    EXPECT_FALSE(Regex::compile("(x+x+)+y").value().search(std::string(1 << 20, 'x')));
}

TEST(Regex, TranslatesEcmaSyntax) {
    auto finds = [](std::string_view pattern, std::string_view text) {
        auto re = Regex::compileEcma(pattern);
        EXPECT_TRUE(re) << pattern << (re ? "" : re.error().message);
        return re && re->search(text);
    };
    EXPECT_TRUE(finds("^\\u00e9$", "\xc3\xa9"));
    EXPECT_TRUE(finds("^\\ud83d\\ude00$", "\xf0\x9f\x98\x80"));
    EXPECT_TRUE(finds("^\\u{1F600}$", "\xf0\x9f\x98\x80"));
    EXPECT_TRUE(finds("^[\\s\\S]*$", "a\nb c"));
    EXPECT_TRUE(finds("^\\s$", "\xc2\xa0"));
    EXPECT_FALSE(finds("^\\S$", "\xe2\x80\xa9"));
    EXPECT_TRUE(finds("^\\cC$", "\x03"));
    EXPECT_TRUE(finds("^[^]$", "\n"));
    EXPECT_FALSE(finds("[]", "a"));
    EXPECT_TRUE(finds("^[[a]+$", "[a"));
    EXPECT_TRUE(finds("^[\\b]$", "\b"));
    EXPECT_TRUE(finds("^a\\/b\\-c\\_d$", "a/b-c_d"));
    EXPECT_TRUE(finds("^(?<year>\\d{4})$", "2026"));
    EXPECT_FALSE(finds("a.b", "a\rb"));
    for (auto bad :
         {"(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(a)\\1", "\\k<n>", "\\Z", "a\\", "\\uZ", "[a"}) {
        auto re = Regex::compileEcma(bad);
        ASSERT_FALSE(re) << bad;
        EXPECT_NE(re.error().message.find(bad), std::string::npos) << re.error().message;
    }
}

}  // namespace
}  // namespace aegis::text
