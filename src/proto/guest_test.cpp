#include "proto/guest.h"

#include <gtest/gtest.h>

namespace aegis::proto::guest {
namespace {

constexpr std::string_view kGenerate =
    R"({"type":"generate","request_id":"e:1:1","agent_id":"a","execution_id":"e","iteration_number":2,)"
    R"("model_alias":"default","prompt":"h\u00e9llo","messages":[],"later_field":{"x":[1]}})";
constexpr std::string_view kResult =
    R"({"type":"dispatch_result","execution_id":"e","dispatch_id":"d1","exit_code":-1,"stdout":"o",)"
    R"("stderr":"unknown_action:x","duration_ms":12,"truncated":true})";

json::Object without(std::string_view text, std::string_view key) {
    json::Object object = json::parse(text)->as_object();
    object.erase(key);
    return object;
}

TEST(Guest, ParsesGenerateAndIgnoresUnknownFields) {
    const auto request = parseRequest(kGenerate);
    ASSERT_TRUE(request) << request.error().message;
    const auto& generate = std::get<GenerateRequest>(*request);
    EXPECT_EQ(generate.request_id, "e:1:1");
    EXPECT_EQ(generate.iteration_number, 2);
    EXPECT_EQ(generate.prompt, "h\xc3\xa9llo");
    EXPECT_TRUE(generate.messages.empty());
}

TEST(Guest, ParsesDispatchResult) {
    const auto request = parseRequest(kResult);
    ASSERT_TRUE(request) << request.error().message;
    const auto& result = std::get<DispatchResult>(*request);
    EXPECT_EQ(result.dispatch_id, "d1");
    EXPECT_EQ(result.exit_code, -1);
    EXPECT_EQ(result.stderr_text, "unknown_action:x");
    EXPECT_TRUE(result.truncated);
}

TEST(Guest, NamesTheFieldThatIsMissing) {
    for (const char* key : {"request_id", "agent_id", "execution_id", "iteration_number",
                            "model_alias", "prompt"}) {
        const auto request = parseRequest(json::dump(without(kGenerate, key)));
        ASSERT_FALSE(request) << key;
        EXPECT_EQ(request.error().code, ErrorCode::kInvalid);
        ASSERT_EQ(request.error().details.size(), 1u);
        EXPECT_EQ(request.error().details[0].path, std::string("/") + key);
    }
    for (const char* key : {"execution_id", "dispatch_id", "exit_code", "stdout", "stderr",
                            "duration_ms", "truncated"})
        EXPECT_FALSE(parseRequest(json::dump(without(kResult, key)))) << key;
    EXPECT_TRUE(parseRequest(json::dump(without(kGenerate, "messages"))));
}

TEST(Guest, RefusesWrongTypesAndRanges) {
    const auto with = [](std::string_view text, std::string_view key, json::Value value) {
        json::Object object = json::parse(text)->as_object();
        object[key] = std::move(value);
        return json::dump(object);
    };
    EXPECT_FALSE(parseRequest(with(kGenerate, "prompt", 7)));
    EXPECT_FALSE(parseRequest(with(kGenerate, "request_id", "")));
    EXPECT_FALSE(parseRequest(with(kGenerate, "iteration_number", 0)));
    EXPECT_FALSE(parseRequest(with(kGenerate, "iteration_number", 1.5)));
    EXPECT_FALSE(parseRequest(with(kGenerate, "messages", "x")));
    EXPECT_FALSE(parseRequest(with(kGenerate, "type", "other")));
    EXPECT_FALSE(parseRequest(with(kResult, "exit_code", std::int64_t{1} << 40)));
    EXPECT_FALSE(parseRequest(with(kResult, "truncated", "yes")));
    EXPECT_FALSE(parseRequest(with(kResult, "duration_ms", -1)));
    const auto long_id = parseRequest(
        with(kResult, "dispatch_id", json::Value(std::string(kMaxIdBytes + 1, 'x').c_str())));
    ASSERT_FALSE(long_id);
    EXPECT_EQ(long_id.error().code, ErrorCode::kTooLarge);
    for (const char* text : {"", "[]", "null", "{", R"({"type":1})", "\xff"})
        EXPECT_FALSE(parseRequest(text)) << text;
    EXPECT_EQ(parseRequest(std::string(kMaxBodyBytes + 1, ' ')).error().code, ErrorCode::kTooLarge);
}

TEST(Guest, LinesAreOneLineOfJsonEach) {
    const std::string nasty = "a\nb\"\xff\x01";
    for (const std::string& line :
         {deltaLine(nasty), finalLine(nasty, 3), errorLine("model_error", nasty, true),
          dispatchLine({"d", nasty, {nasty, ""}, nasty, {{"K", nasty}}, 1.5, 1048576})}) {
        ASSERT_EQ(line.find('\n'), line.size() - 1) << line;
        EXPECT_TRUE(json::isUtf8(line));
        EXPECT_TRUE(json::parse(line)) << line;
    }
    EXPECT_EQ(deltaLine("hi"), "{\"type\":\"delta\",\"content\":\"hi\"}\n");
    EXPECT_EQ(finalLine("x", 2),
              "{\"type\":\"final\",\"content\":\"x\",\"tool_calls_executed\":2}\n");
    EXPECT_EQ(errorLine("c", "m", false),
              "{\"type\":\"error\",\"code\":\"c\",\"message\":\"m\",\"retryable\":false}\n");
    EXPECT_EQ(
        dispatchLine({"d1", "ls", {"-l"}, "/w", {{"A", "1"}}, 60, 1024}),
        "{\"type\":\"dispatch\",\"dispatch_id\":\"d1\",\"action\":\"exec\",\"command\":\"ls\","
        "\"args\":[\"-l\"],\"cwd\":\"/w\",\"env_additions\":{\"A\":\"1\"},\"timeout_secs\":60,"
        "\"max_output_bytes\":1024}\n");
}

TEST(Guest, BootstrapTakesThePromptLast) {
    const auto argv = bootstrapArgv();
    ASSERT_FALSE(argv.empty());
    EXPECT_EQ(argv.front(), "python3");
    EXPECT_NE(argv.back().find("bootstrap.main()"), std::string::npos);
}

}  // namespace
}  // namespace aegis::proto::guest
