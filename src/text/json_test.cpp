#include "text/json.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <string>

namespace aegis::json {
namespace {

TEST(Json, RoundTripsInOrderWithShortNumbers) {
    auto v = parse(
        R"( {"b": 1.1, "a": [1, 18446744073709551615, -3, 1e300], "s": "\u00e9\n\"", "n": null} )");
    ASSERT_TRUE(v) << v.error().message;
    EXPECT_EQ(dump(*v),
              "{\"b\":1.1,\"a\":[1,18446744073709551615,-3,1e+300],\"s\":\"\xc3\xa9\\n\\\"\",\"n\":"
              "null}");
    EXPECT_EQ(dumpPretty(parse(R"({"a":[],"b":{"c":1}})").value()),
              "{\n  \"a\": [],\n  \"b\": {\n    \"c\": 1\n  }\n}");
}

TEST(Json, ReportsPositions) {
    struct Case {
        const char* text;
        int line, column;
    };
    for (auto c : {Case{"{\"a\": tru}", 1, 10}, Case{"{\n \"a\": 1,\n}", 3, 1}, Case{"[1] x", 1, 5},
                   Case{"{\"a\":1,\n\"b\":{\"c\":1,\"c\":2}}", 2, 14}, Case{"nul", 1, 4},
                   Case{"{\"a\":fals3", 1, 10}, Case{"{\"a\":1,\"a\":2}", 1, 11}, Case{"[1", 1, 3},
                   Case{"", 1, 1}}) {
        auto v = parse(c.text);
        ASSERT_FALSE(v) << c.text;
        EXPECT_EQ(v.error().details[0].line, c.line) << c.text;
        EXPECT_NEAR(v.error().details[0].column, c.column, 1) << c.text << v.error().message;
    }
}

TEST(Json, NumbersAreExactAndShort) {
    for (const char* text : {"0.1", "0.30000000000000004", "1.7976931348623157e+308", "5e-324",
                             "9007199254740993.5", "1e+21", "100000", "123456789012345680000",
                             "0.000001", "1e-7", "2.2250738585072014e-308", "-1.5"}) {
        auto v = parse(text);
        ASSERT_TRUE(v) << text;
        if (v->is_double()) {
            EXPECT_EQ(v->get_double(), std::strtod(text, nullptr)) << text;
        }
        EXPECT_EQ(std::strtod(dump(*v).c_str(), nullptr), std::strtod(text, nullptr)) << text;
        EXPECT_EQ(dump(parse(dump(*v)).value()), dump(*v)) << text;
    }
    EXPECT_EQ(dump(parse("1e5").value()), "100000");
    EXPECT_EQ(dump(parse("1.0").value()), "1");
    EXPECT_EQ(dump(parse("1e-400").value()), "0");
    EXPECT_FALSE(parse("1e400"));
    EXPECT_EQ(dumpNumber(1.0 / 0.0), "null");
}

// A megabyte of keys, of one key, of one string and of one array: linear, so far below a second.
TEST(Json, StaysLinear) {
    std::string keys = "{\"k\":0";
    for (int i = 0; keys.size() < 1024 * 1024; ++i)
        keys += ",\"k" + std::to_string(i) + "\":{\"a\":[1]}";
    keys += "}";
    std::string big(1024 * 1024, 'x');
    std::string array = "[0";
    while (array.size() < 1024 * 1024)
        array += ",1";
    array += "]";
    auto start = std::clock();
    for (const auto& text : {keys, "{\"" + big + "\":1}", "\"" + big + "\"", array}) {
        auto v = parse(text);
        ASSERT_TRUE(v) << v.error().message;
        EXPECT_EQ(dump(*v), text);
    }
    EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 5.0);
}

TEST(Json, PrintsIllFormedBytesAsReplacement) {
    EXPECT_EQ(dump(Value("a\xff\xe2\x82")), "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST(Json, BoundsDepthWithoutCrashing) {
    std::string deep(200'000, '[');
    EXPECT_FALSE(parse(deep));
    std::string ok(64, '[');
    ok += std::string(64, ']');
    EXPECT_TRUE(parse(ok));
    EXPECT_FALSE(parse("[" + ok + "]"));
}

TEST(Json, RefusesWhatTheStandardRefuses) {
    for (auto bad :
         {"{'a':1}", "[1,]", "01", "+1", "NaN", "\"\t\"", "\"\xff\"", "{\"a\":1 \"b\":2}"})
        EXPECT_FALSE(parse(bad)) << bad;
}

TEST(Json, Utf8) {
    EXPECT_TRUE(isUtf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    for (auto bad : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xe2\x82"})
        EXPECT_FALSE(isUtf8(bad));
    EXPECT_EQ(toUtf8("a\xffz"), "a\xef\xbf\xbdz");
    EXPECT_EQ(quote("a\xffz"), "\"a\xef\xbf\xbdz\"");
}

TEST(Json, Getters) {
    auto v = parse(R"({"s":"x","i":3,"d":4.0,"f":4.5,"b":true})").value();
    EXPECT_EQ(getString(v, "s"), "x");
    EXPECT_EQ(getString(v, "i", "no"), "no");
    EXPECT_EQ(getInt(v, "i"), 3);
    EXPECT_EQ(getInt(v, "d"), 4);
    EXPECT_EQ(getInt(v, "f", -1), -1);
    EXPECT_TRUE(getBool(v, "b"));
    EXPECT_EQ(find(v, "zz"), nullptr);
}

}  // namespace
}  // namespace aegis::json
