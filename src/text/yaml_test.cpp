#include "text/yaml.h"

#include <gtest/gtest.h>

#include <ctime>

namespace aegis {
namespace {

std::string asJson(std::string_view text) {
    auto documents = yaml::parse(text);
    if (!documents) return "error: " + documents.error().message;
    if (documents->size() != 1) return "documents: " + std::to_string(documents->size());
    auto value = yaml::toJson(documents->front().root);
    return value ? json::dump(*value) : "error: " + value.error().message;
}

TEST(Yaml, ResolvesTheCoreSchema) {
    const std::pair<const char*, const char*> kTable[] = {
        {"[null, Null, NULL, ~, ]", "[null,null,null,null]"},
        {"[true, True, TRUE, false, False, FALSE]", "[true,true,true,false,false,false]"},
        {"[yes, no, on, off, y, nUll, tRue]", R"(["yes","no","on","off","y","nUll","tRue"])"},
        {"[0, 12, -7, +3, 007, 0o17, 0xFf, 0b1]", R"([0,12,-7,3,7,15,255,"0b1"])"},
        {"[1.5, -.5, 3., 1e3, +1.25E-2, 3.10]", "[1.5,-0.5,3,1000,0.0125,3.1]"},
        {"[., 1.2.3, 1e, e3, 1_000, 12:30, -, +, 0x, 0o8]",
         R"([".","1.2.3","1e","e3","1_000","12:30","-","+","0x","0o8"])"},
        {"[9223372036854775807, 18446744073709551615, -9223372036854775808]",
         "[9223372036854775807,18446744073709551615,-9223372036854775808]"},
        {"[18446744073709551616, 1e-999]", "[18446744073709551616,0]"},
        {"['1', \"true\", 'null', \"\"]", R"(["1","true","null",""])"},
        {"[!!str 1, !!int '3', ! 4, !!null '']", R"(["1",3,"4",null])"},
        {"a: |\n  x\n  y\nb: >\n  x\n  y\n", R"({"a":"x\ny\n","b":"x y\n"})"},
        {"{a: &x [1, 2], b: *x}", R"({"a":[1,2],"b":[1,2]})"},
        {R"({"a":1,"b":{"c":[true,null,"\u00e9\/"]}})",
         "{\"a\":1,\"b\":{\"c\":[true,null,\"é/\"]}}"},
        {"{\"a\":\n\t1}", R"({"a":1})"},
        {"[.inf]", "error: a number that JSON lacks: .inf"},
    };
    for (const auto& [text, expected] : kTable)
        EXPECT_EQ(asJson(text), expected) << text;
}

TEST(Yaml, ReportsErrorsWithTheirPlace) {
    const std::pair<const char*, const char*> kTable[] = {
        {"a: 1\nb: 2\na: 3\n", "line 3, column 1: duplicate key \"a\""},
        {"a: {x: 1, 'x': 2}", "line 1, column 11: duplicate key \"x\""},
        {"a: &x {b: *x}", "line 1, column 11: alias *x is inside what it names"},
        {"a: &x 1\nb: &x [*x]", "line 2, column 8: alias *x is inside what it names"},
        {"a: *nothing", "line 1, column 4: alias *nothing names nothing"},
        {"--- &x 1\n--- *x\n", "line 2, column 5: alias *x names nothing"},
        {"a: &x {b: 1}\nc:\n  <<: *x\n", "line 3, column 3: merge keys (<<) are not supported"},
        {"? [a]\n: 1\n", "line 1, column 3: a mapping's key must be a scalar"},
        {"{&a [x]: 1}", "line 1, column 2: a mapping's key must be a scalar"},
        {"a: !foo 1", "line 1, column 4: unknown tag !foo"},
        {"a: !!int x", "line 1, column 4: \"x\" does not fit its tag"},
        {"é: 1\nü: \x01", "line 2, column 4: a control character; this is not text"},
        {"é: 1\nü: \xFF", "line 2, column 4: not UTF-8"},
        {"a: b: c", "line 1, column 5: mapping values are not allowed in this context"},
    };
    for (const auto& [text, expected] : kTable)
        EXPECT_EQ(asJson(text), std::string("error: ") + expected) << text;
    auto error = yaml::parse("a: [1, 2\nb: 3").error();
    ASSERT_EQ(error.details.size(), 1u);
    EXPECT_EQ(error.code, ErrorCode::kInvalid);
    EXPECT_EQ(error.details[0].line, 2);
}

TEST(Yaml, KeepsPositionsOfKeysAndValues) {
    auto documents = yaml::parse("a:\n  bé: [x, 'y']\n");
    ASSERT_TRUE(documents);
    const auto& entry = documents->front().root.find("a")->entries.front();
    EXPECT_EQ(std::pair(entry.line, entry.column), std::pair(2, 3));
    EXPECT_EQ(std::pair(entry.value.line, entry.value.column), std::pair(2, 7));
    const auto& quoted = entry.value.items.at(1);
    EXPECT_EQ(std::pair(quoted.line, quoted.column), std::pair(2, 11));
    EXPECT_EQ(quoted.style, yaml::Node::Style::kQuoted);
    EXPECT_EQ(documents->front().root.find("b"), nullptr);
}

TEST(Yaml, CutsDocumentsWithoutLosingAByte) {
    std::string text = "\xEF\xBB\xBF# é\na: ü\n---\r\nb: 2\n...\n%YAML 1.2\n---\nc: 3\n# end\n";
    auto documents = yaml::parse(text);
    ASSERT_TRUE(documents) << documents.error().message;
    ASSERT_EQ(documents->size(), 3u);
    std::string joined;
    for (const auto& d : *documents)
        joined += text.substr(d.begin, d.end - d.begin);
    EXPECT_EQ(joined, text);
    EXPECT_EQ(text.substr((*documents)[1].begin, 10), "---\r\nb: 2\n");
    EXPECT_EQ((*documents)[2].root.find("c")->scalar, "3");
    EXPECT_EQ(yaml::parse("")->size(), 0u);
    EXPECT_EQ(yaml::parse("# nothing\n")->size(), 0u);
}

TEST(Yaml, BoundsWhatIsHostile) {
    std::clock_t start = std::clock();  // the machine may be busy
    auto message = [](const std::string& text) {
        auto result = yaml::parse(text);
        return result ? std::string("parsed") : result.error().message;
    };
    EXPECT_EQ(yaml::parse(std::string(2 << 20, 'a')).error().code, ErrorCode::kTooLarge);
    EXPECT_EQ(message(std::string(200'000, '[')), "line 1, column 65: nested deeper than 64");
    EXPECT_EQ(message(std::string(200'000, '{')),
              "line 1, column 2: a mapping's key must be a scalar");
    std::string nested;
    for (int i = 0; i < 100'000; ++i)
        nested += "{a: ";
    EXPECT_EQ(message(nested), "line 1, column 257: nested deeper than 64");
    std::string lines, dashes, questions, tags;
    for (int i = 0; i < 200'000; ++i)
        lines += "[\n";
    EXPECT_EQ(message(lines), "line 65, column 1: nested deeper than 64");
    for (int i = 0; i < 200'000; ++i)
        dashes += "- ";
    EXPECT_EQ(message(dashes), "line 1, column 129: nested deeper than 64");
    for (int i = 0; i < 200'000; ++i)
        questions += "? ";
    EXPECT_NE(message(questions), "parsed");
    for (int i = 0; i < 40'000; ++i)
        tags += "%TAG !" + std::to_string(i) + "! x\n";
    EXPECT_EQ(message(tags + "---\na"), "line 33, column 1: too many %TAG directives");

    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 9; ++i) {
        std::string before = "*a" + std::to_string(i - 1);
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int k = 0; k < 10; ++k)
            bomb += before + ", ";
        bomb += "]\n";
    }
    EXPECT_NE(message(bomb).find("more than 100000 values"), std::string::npos);
    std::string wide = "a: &a " + std::string(300'000, 'x') + "\nb: [*a, *a, *a, *a]";
    EXPECT_NE(message(wide).find("expand to more than"), std::string::npos);
    std::string deep = "a: &a " + std::string(40, '[') + std::string(40, ']') +
                       "\nb: " + std::string(40, '[') + "*a" + std::string(40, ']');
    EXPECT_EQ(message(deep), "line 2, column 44: nested deeper than 64");
    EXPECT_EQ(message(std::string(63, '[') + "x" + std::string(63, ']')), "parsed");
    EXPECT_LT(std::clock() - start, 5 * CLOCKS_PER_SEC);
}

}  // namespace
}  // namespace aegis
