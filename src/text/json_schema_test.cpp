#include "text/json_schema.h"

#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "text/json_schema_tree.h"

namespace aegis::text {
namespace {

std::string violations(std::string_view schema, std::string_view instance) {
    auto compiled = JsonSchema::compile(json::parse(schema).value());
    if (!compiled) return compiled.error().message;
    std::string out;
    for (const auto& v : compiled->validate(json::parse(instance).value()))
        out += (out.empty() ? "" : "\n") + v.str();
    return out;
}

TEST(JsonSchema, ListsEveryViolationWithItsPointer) {
    EXPECT_EQ(violations(R"({"required":["output"]})", "{}"),
              "/: required property 'output' is missing");
    EXPECT_EQ(
        violations(
            R"({"type":"object","required":["a","b"],"properties":{"items":{"type":"array",
                      "items":{"properties":{"name":{"type":"string"},"n":{"minimum":3}}}}}})",
            R"({"items":[{"name":7},{"n":2},{"name":"x","n":3}]})"),
        "/: required property 'a' is missing\n/: required property 'b' is missing\n"
        "/items/0/name: expected string, got integer\n/items/1/n: 2 is less than the minimum 3");
    EXPECT_EQ(
        violations(R"({"properties":{"a/b":{"properties":{"c~d":{"type":["null","integer"]}}}}})",
                   R"({"a/b":{"c~d":1.5}})"),
        "/a~1b/c~0d: expected null or integer, got number");
}

TEST(JsonSchema, SaysWhatIsWrong) {
    struct Case {
        const char *schema, *instance, *expected;
    };
    for (const Case& c : {
             Case{R"({"additionalProperties":false,"properties":{"a":{}}})", R"({"a":1,"b":2})",
                  "/: property 'b' is not allowed"},
             {R"({"enum":["a",1,null]})", "2", "/: expected one of \"a\", 1, null, got 2"},
             {R"({"const":{"a":1.0}})", R"({"a":2})", "/: expected {\"a\":1}, got {\"a\":2}"},
             {R"({"maxLength":2})", "\"\xc3\xa9\xc3\xa9\xc3\xa9\"",
              "/: has 3 characters, expected at most 2"},
             {R"({"pattern":"^a"})", "\"b\"", "/: \"b\" does not match the pattern '^a'"},
             {R"({"format":"date"})", "\"2025-02-29\"", "/: \"2025-02-29\" is no date"},
             {R"({"minItems":1})", "[]", "/: has 0 items, expected at least 1"},
             {R"({"uniqueItems":true})", "[1,2,1.0]", "/: items 0 and 2 are equal"},
             {R"({"items":[{}],"additionalItems":false})", "[1,2]",
              "/: has 2 items, expected at most 1"},
             {R"({"contains":{"type":"null"}})", "[1]",
              "/: has 0 items that match 'contains', expected at least 1"},
             {R"({"anyOf":[{"type":"null"},{"required":["x"]}]})", "{}",
              "/: matches no alternative of 'anyOf' (/: expected null, got object; /: required "
              "property 'x' "
              "is missing)"},
             {R"({"oneOf":[{},{}]})", "1",
              "/: matches 2 alternatives of 'oneOf', expected exactly one"},
             {R"({"not":{}})", "1", "/: matches the schema of 'not', which it must not"},
             {R"({"dependencies":{"a":["b"]}})", R"({"a":1})",
              "/: property 'b' is missing, which 'a' requires"},
             {R"({"propertyNames":{"maxLength":1}})", R"({"ab":1})",
              "/: property name 'ab': has 2 characters, expected at most 1"},
             {R"({"multipleOf":0.01})", "1.005", "/: 1.005 is not a multiple of 0.01"},
             {R"({"properties":{"a":false}})", R"({"a":1})", "/a: is not allowed"},
             {R"({"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}})",
              R"({"a":1})", "/: required property 'b' is missing"},
         })
        EXPECT_EQ(violations(c.schema, c.instance), c.expected) << c.schema;
}

TEST(JsonSchema, TakesLaterDraftsWhereCheap) {
    EXPECT_EQ(violations(R"({"prefixItems":[{"type":"string"}],"items":{"type":"null"}})",
                         R"([1,2,null])"),
              "/0: expected string, got integer\n/1: expected null, got integer");
    EXPECT_EQ(
        violations(
            R"({"dependentRequired":{"a":["b"]},"dependentSchemas":{"a":{"maxProperties":0}}})",
            R"({"a":1})"),
        "/: property 'b' is missing, which 'a' requires\n/: has 1 properties, expected at most 0");
    EXPECT_EQ(violations(R"({"contains":{"const":1},"minContains":2,"maxContains":2})", "[1,1,1]"),
              "/: has 3 items that match 'contains', expected at most 2");
    EXPECT_EQ(violations(R"({"contains":{"const":1},"minContains":0})", "[]"), "");
    EXPECT_EQ(violations(R"({"$schema":"https://json-schema.org/draft/2020-12/schema",
                             "$ref":"#/$defs/a","maximum":1,"$defs":{"a":{"type":"integer"}}})",
                         "2"),
              "/: 2 is greater than the maximum 1");
    EXPECT_EQ(violations(R"({"$ref":"#here","$defs":{"a":{"$anchor":"here","type":"null"}}})", "2"),
              "/: expected null, got integer");
}

TEST(JsonSchema, ReferencesStayInside) {
    EXPECT_EQ(
        violations(R"({"$ref":"#/definitions/a~1b","definitions":{"a/b":{"type":"null"}}})", "1"),
        "/: expected null, got integer");
    EXPECT_EQ(
        violations(R"({"$id":"http://x.org/a/root.json","items":{"$ref":"b.json#/definitions/c"},
                             "definitions":{"b":{"$id":"./z/../b.json","definitions":{"c":{"$ref":"#d"},
                             "d":{"$id":"#d","type":"null"}}}}})",
                   "[1]"),
        "/0: expected null, got integer");
    for (auto ref :
         {"http://example.org/schema.json", "other.json#/a", "urn:x:y", "file:///etc/passwd"}) {
        auto s =
            JsonSchema::compile(json::Object{{"properties", json::Object{{"p", {{"$ref", ref}}}}}});
        ASSERT_FALSE(s) << ref;
        EXPECT_EQ(s.error().code, ErrorCode::kInvalid);
        EXPECT_NE(s.error().message.find(ref), std::string::npos);
        EXPECT_EQ(s.error().details[0].path, "/properties/p/$ref");
    }
    EXPECT_NE(violations(R"({"$ref":"#/definitions/x"})", "1").find("points to nothing"),
              std::string::npos);
    EXPECT_NE(violations(R"({"$ref":"#x"})", "1").find("points to nothing"), std::string::npos);
}

TEST(JsonSchema, ListsEveryProblemOfASchema) {
    auto s = JsonSchema::compile(json::parse(R"j({"type":"strng","minLength":-1,"pattern":"(?=a)",
        "properties":[],"required":"a","multipleOf":0,"allOf":[],"items":3,"exclusiveMaximum":true,
        "unevaluatedProperties":false,"enum":{},"uniqueItems":1,"format":1})j")
                                     .value());
    ASSERT_FALSE(s);
    std::set<std::string> paths;
    for (const auto& d : s.error().details)
        paths.insert(d.path);
    EXPECT_EQ(paths, (std::set<std::string>{"/type", "/minLength", "/pattern", "/properties",
                                            "/required", "/multipleOf", "/allOf", "/items",
                                            "/exclusiveMaximum", "/unevaluatedProperties", "/enum",
                                            "/uniqueItems", "/format"}));
    EXPECT_NE(violations(R"j({"pattern":"a(?!b)"})j", "1").find("'a(?!b)'"), std::string::npos);
    EXPECT_FALSE(JsonSchema::compile(json::Value(1)));
}

// The examples of RFC 3986, section 5.4.
TEST(JsonSchema, ResolvesUris) {
    constexpr const char* kBase = "http://a/b/c/d;p?q";
    for (auto [reference, expected] : {std::pair{"g:h", "g:h"},
                                       {"g", "http://a/b/c/g"},
                                       {"./g", "http://a/b/c/g"},
                                       {"g/", "http://a/b/c/g/"},
                                       {"/g", "http://a/g"},
                                       {"//g", "http://g"},
                                       {"?y", "http://a/b/c/d;p?y"},
                                       {"g?y", "http://a/b/c/g?y"},
                                       {"", "http://a/b/c/d;p?q"},
                                       {".", "http://a/b/c/"},
                                       {"..", "http://a/b/"},
                                       {"../g", "http://a/b/g"},
                                       {"../..", "http://a/"},
                                       {"../../g", "http://a/g"},
                                       {"../../../g", "http://a/g"},
                                       {"g;x=1/../y", "http://a/b/c/y"}})
        EXPECT_EQ(resolveUri(kBase, reference), expected) << reference;
    EXPECT_EQ(resolveUri("", "item.json"), "item.json");
    EXPECT_EQ(resolveUri("urn:x:y", ""), "urn:x:y");
}

TEST(JsonSchema, NumbersAreExact) {
    EXPECT_EQ(violations(R"({"maximum":9007199254740992})", "9007199254740993"),
              "/: 9007199254740993 is greater than the maximum 9007199254740992");
    EXPECT_EQ(violations(R"({"maximum":18446744073709551614})", "18446744073709551615"),
              "/: 18446744073709551615 is greater than the maximum 18446744073709551614");
    for (auto [of, number] : {std::pair{"0.01", "19.99"},
                              {"0.1", "4.1"},
                              {"3", "9e15"},
                              {"1e-7", "0.0075"},
                              {"0.5", "1e308"},
                              {"7", "-14.0"},
                              {"5e-324", "1e300"}})
        EXPECT_EQ(violations(std::string(R"({"multipleOf":)") + of + "}", number), "")
            << of << ' ' << number;
    for (auto [of, number] :
         {std::pair{"0.01", "0.001"}, {"3", "1e15"}, {"1e10", "5"}, {"1e308", "1"}})
        EXPECT_NE(violations(std::string(R"({"multipleOf":)") + of + "}", number), "")
            << of << ' ' << number;
    EXPECT_EQ(violations(R"({"type":"integer","enum":[1]})", "1.0"), "");
}

TEST(JsonSchema, NeverHangsNorCrashes) {
    auto start = std::clock();
    for (auto endless : {R"({"$ref":"#"})", R"({"allOf":[{"$ref":"#"}]})",
                         R"({"$ref":"#/definitions/a","definitions":{"a":{"$ref":"#/definitions/b"},
                             "b":{"$ref":"#/definitions/a"}}})"}) {
        auto text = violations(endless, "1");
        EXPECT_EQ(text, "/: cannot be checked: schemas apply inside one another deeper than 400");
    }
    // Each level asks twice: 2^40 questions.
    std::string schema = R"({"definitions":{"l0":{"type":"null"})";
    for (int i = 1; i <= 40; ++i) {
        std::string below = "{\"$ref\":\"#/definitions/l" + std::to_string(i - 1) + "\"}";
        schema += ",\"l" + std::to_string(i) + "\":{\"anyOf\":[" + below + "," + below + "]}";
    }
    auto doubling =
        JsonSchema::compile(json::parse(schema + R"(},"$ref":"#/definitions/l40"})").value());
    EXPECT_EQ(doubling->validate(json::Value(1), {.max_steps = 100'000}),
              (std::vector<SchemaViolation>{
                  {"/", "cannot be checked: it takes more than 100000 steps"}}));
    EXPECT_EQ(SchemaLimits{}.max_steps, 5'000'000U);
    std::string long_text = "\"" + std::string(1 << 20, 'a') + "\"";
    EXPECT_NE(violations(R"j({"pattern":"^(a+)+$b"})j", long_text), "");
    std::string many = "[0";
    for (int i = 0; i < 50'000; ++i)
        many += ",\"x\"";
    auto found = JsonSchema::compile(json::parse(R"({"items":{"type":"null"}})").value())
                     ->validate(json::parse(many + "]").value());
    EXPECT_EQ(found.size(), 1001U);
    EXPECT_EQ(found.back().str(), "/: further violations are not listed");
    EXPECT_EQ(violations(R"({"uniqueItems":true,"items":{"enum":[0,"x"]}})", many + "]"),
              "/: items 1 and 2 are equal");
    EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 60.0);
}

TEST(JsonSchema, Formats) {
    std::map<std::string, std::pair<std::vector<const char*>, std::vector<const char*>>> cases{
        {"date-time",
         {{"2026-02-23T10:00:01Z", "2026-02-23t10:00:01.5+01:00", "1998-12-31T23:59:60Z",
           "1998-12-31T15:59:60.123-08:00"},
          {"2026-02-23", "2026-02-23T10:00:01", "2026-02-30T10:00:01Z", "2026-02-23T24:00:00Z",
           "2026-02-23 10:00:01Z", "1998-12-31T22:59:60Z", "2026-02-23T10:00:01.Z", ""}}},
        {"date",
         {{"2024-02-29"}, {"2023-02-29", "2023-13-01", "2023-1-01", "23-01-01", "2023-01-01x"}}},
        {"time", {{"10:00:01Z", "10:00:01.25-00:30"}, {"10:00:01", "10:60:00Z", "1:00:00Z"}}},
        {"email",
         {{"a@b.c", "a.b+c@d-e.org", "a@[127.0.0.1]"}, {"a", "@b", "a@", "a b@c", ".a@b", "a@-b"}}},
        {"ipv4",
         {{"127.0.0.1", "255.255.255.255"}, {"256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", ""}}},
        {"ipv6",
         {{"::", "::1", "1::", "fe80::1:2", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4",
           "1:2:3:4:5:6:1.2.3.4"},
          {"", ":", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "::1::", ":::1",
           "1:", "fe80::1%eth0", "1:2:3:4:5:6:7::8:9"}}},
        {"uri",
         {{"http://x.org:80/a?b#c", "urn:a:b", "mailto:a@b.c", "http://[::1]/", "ftp://u:p@h/%20"},
          {"", "//x.org", "a b:c", "http://x y", "http://x/%zz", "1a:b", "http://x/\\",
           "http://[::1"}}},
        {"uuid",
         {{"a1b2c3d4-0000-4000-8000-00000000000F"},
          {"a1b2c3d4000040008000000000000001", "g1b2c3d4-0000-4000-8000-000000000001"}}},
        {"hostname", {{"a", "a-b.c1.org"}, {"", "-a", "a-", "a..b", "a_b", "a."}}},
        {"regex", {{"^a+$", "[\\s\\S]"}, {"(", "a**", "\\Z"}}},
    };
    for (const auto& [name, lists] : cases) {
        FormatCheck check = findFormat(name);
        ASSERT_NE(check, nullptr) << name;
        for (auto good : lists.first)
            EXPECT_TRUE(check(good)) << name << ' ' << good;
        for (auto bad : lists.second)
            EXPECT_FALSE(check(bad)) << name << ' ' << bad;
    }
    EXPECT_EQ(violations(R"({"format":"unheard-of"})", "\"x\""), "");
}

// The suite of Debian's package json-schema-test-suite.
struct Suite {
    std::filesystem::path root = "/usr/share/json-schema-test-suite/tests/draft7";
    int checked = 0;
    int excepted = 0;
    // "file: description" of the groups whose schema cannot be compiled here.
    std::set<std::string> exceptions;

    void run(const std::string& file) {
        std::ifstream in(root / file);
        std::string text{std::istreambuf_iterator<char>(in), {}};
        auto groups = json::parse(text, {.max_depth = 200});
        ASSERT_TRUE(groups) << file;
        for (const json::Value& group : groups->as_array()) {
            std::string name = file + ": " + std::string(json::getString(group, "description"));
            auto schema = JsonSchema::compile(*json::find(group, "schema"));
            if (exceptions.contains(name)) {
                ++excepted;
                EXPECT_FALSE(schema) << name << " is no exception any more";
                continue;
            }
            if (!schema) {
                ADD_FAILURE() << name << ": " << schema.error().message;
                continue;
            }
            for (const json::Value& test : json::find(group, "tests")->as_array()) {
                ++checked;
                EXPECT_EQ(schema->validate(*json::find(test, "data")).empty(),
                          json::getBool(test, "valid"))
                    << name << ": " << json::getString(test, "description");
            }
        }
    }
};

TEST(JsonSchema, PassesTheTestSuiteOfDraft7) {
    Suite suite;
    if (!std::filesystem::exists(suite.root))
        GTEST_SKIP() << "json-schema-test-suite is not installed";
    // References to other documents are refused by design.
    suite.exceptions = {
        "definitions.json: valid definition",
        "definitions.json: invalid definition",
        "ref.json: remote ref, containing refs itself",
        "refRemote.json: remote ref",
        "refRemote.json: fragment within remote ref",
        "refRemote.json: ref within remote ref",
        "refRemote.json: base URI change",
        "refRemote.json: base URI change - change folder",
        "refRemote.json: base URI change - change folder in subschema",
        "refRemote.json: root ref in remote ref",
    };
    for (const auto& entry : std::filesystem::directory_iterator(suite.root)) {
        if (entry.path().extension() == ".json") suite.run(entry.path().filename());
    }
    EXPECT_GT(suite.checked, 400);
    EXPECT_EQ(suite.excepted, static_cast<int>(suite.exceptions.size()));
}

TEST(JsonSchema, PassesTheOptionalTestsOfDraft7) {
    Suite suite;
    if (!std::filesystem::exists(suite.root))
        GTEST_SKIP() << "json-schema-test-suite is not installed";
    for (auto name :
         {"date", "date-time", "time", "email", "hostname", "ipv4", "ipv6", "uri", "regex"})
        suite.run(std::string("optional/format/") + name + ".json");
    suite.run("optional/ecmascript-regex.json");
    suite.run("optional/bignum.json");
    suite.run("optional/zeroTerminatedFloats.json");
    EXPECT_GT(suite.checked, 60);
}

}  // namespace
}  // namespace aegis::text
