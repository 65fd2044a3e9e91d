#include "tools/args/args.h"

#include <gtest/gtest.h>

#include <array>

namespace aegis::tools {
namespace {

constexpr std::array<ArgSpec, 4> kArgs{{
    {"path", ArgType::kString, true, "where"},
    {"limit", ArgType::kInteger, false, "how many"},
    {"args", ArgType::kStringList, false, "more"},
    {"env", ArgType::kStringMap, false, "names"},
}};

std::string problem(std::string_view text) {
    auto parsed = parseArguments(text, kArgs);
    return parsed ? "" : parsed.error().message;
}

TEST(ToolArgs, acceptsWhatIsDescribed) {
    auto parsed = parseArguments(R"({"path":"a","limit":3,"args":["x"],"env":{"A":"b"}})", kArgs);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(json::dump(*parsed), R"({"path":"a","limit":3,"args":["x"],"env":{"A":"b"}})");
    EXPECT_EQ(problem(R"({"path":"a","limit":2.0})"), "");
    EXPECT_EQ(json::dump(*parseArguments(R"({"path":"a","limit":null})", kArgs)),
              R"({"path":"a"})");
}

TEST(ToolArgs, refusalsSayWhatToSend) {
    EXPECT_EQ(problem(R"({"pth":"a"})"), "unknown argument \"pth\"; known: path, limit, args, env");
    EXPECT_EQ(problem("{}"), "argument \"path\" is missing");
    EXPECT_EQ(problem(""), "argument \"path\" is missing");
    EXPECT_EQ(problem(R"({"path":null})"), "argument \"path\" must be a string");
    EXPECT_EQ(problem(R"({"path":"a","limit":1.5})"), "argument \"limit\" must be an integer");
    EXPECT_EQ(problem(R"({"path":"a","args":["x",1]})"),
              "argument \"args\" must be an array of strings");
    EXPECT_EQ(problem(R"({"path":"a","env":{"A":1}})"),
              "argument \"env\" must be an object whose values are strings");
    EXPECT_EQ(problem("[1]"), "the arguments must be one JSON object with: path, limit, args, env");
    for (const char* bad : {"not json", "{\"path\":", "{\"path\":\"a\",\"path\":\"b\"}", "{} {}"})
        EXPECT_TRUE(problem(bad).starts_with("the arguments are not JSON (")) << problem(bad);
    EXPECT_EQ(problem("{\"a\\u001b\":1}").find('\x1b'), std::string::npos);
}

TEST(ToolArgs, schemaIsStrict) {
    auto schema = schemaOf(kArgs);
    EXPECT_EQ(json::dump(*json::find(schema, "required")), R"(["path"])");
    EXPECT_FALSE(json::getBool(schema, "additionalProperties", true));
    EXPECT_EQ(json::dump(*json::find(*json::find(*json::find(schema, "properties"), "env"),
                                     "additionalProperties")),
              R"({"type":"string"})");
}

TEST(ToolArgs, summariesAreOneBoundedLine) {
    EXPECT_EQ(summaryOf("a\nb\x1b[0m"), "a\\nb\\x1b[0m");
    auto cut = summaryOf(std::string(5000, '\n'));
    EXPECT_LE(cut.size(), execution::kMaxSummaryBytes);
    EXPECT_TRUE(cut.ends_with("..."));
}

}  // namespace
}  // namespace aegis::tools
