#include "models/scripted.h"

#include <gtest/gtest.h>

#include "models/reader_test_util.h"

namespace aegis::models {
namespace {

using namespace test;
using Role = ports::Message::Role;

constexpr std::string_view kScript = R"(
- match: "Fix it"
  turns:
    - content: fixed
- match: "(?i)list"
  turns:
    - content: "let me see"
      tool_calls:
        - {name: fs.write, arguments: {path: /a, n: 1}}
        - {name: cmd.run, arguments: "not json"}
        - {name: fs.list}
    - content: "done: é"
)";

ports::ModelRequest asking(std::string text, int assistant_messages = 0) {
    ports::ModelRequest request;
    request.messages = {message(Role::kUser, std::move(text))};
    for (int i = 0; i < assistant_messages; ++i) {
        request.messages.push_back(message(Role::kAssistant, "abc"));
        request.messages.push_back(message(Role::kTool, "Fix it"));
    }
    return request;
}

TEST(Script, FirstMatchAndTurnByAssistantMessages) {
    auto script = Script::parse(kScript, "s.yaml");
    ASSERT_TRUE(script) << script.error().message;
    auto answer = script->answer(asking("make a LIST"));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->content, "let me see");
    EXPECT_EQ(calls(*answer),
              "call_1_1 fs.write {\"path\":\"/a\",\"n\":1}\n"
              "call_1_2 cmd.run not json\ncall_1_3 fs.list {}\n");
    EXPECT_EQ(answer->finish_reason, "tool_calls");
    EXPECT_EQ(answer->usage.prompt_tokens, 3U);       // 11 bytes
    EXPECT_EQ(answer->usage.completion_tokens, 16U);  // 61 bytes
    EXPECT_EQ(script->answer(asking("list", 1))->content, "done: é");
    EXPECT_EQ(script->answer(asking("a list\nFix it:"))->content, "fixed");
}

TEST(Script, NoMatchAndUsedUpTurnsAreErrors) {
    auto script = Script::parse(kScript, "s.yaml");
    ASSERT_TRUE(script);
    EXPECT_EQ(script->answer(asking("nothing")).error().message,
              "no rule of the script s.yaml matches the last user message");
    EXPECT_EQ(script->answer(asking("list", 2)).error().message,
              "the rule \"(?i)list\" of the script s.yaml has 2 turns and is asked for turn 3");
    EXPECT_FALSE(script->answer({}));
}

TEST(Script, EveryProblemWithItsPlace) {
    auto script = Script::parse(R"(- match: "("
  turns: []
- turns: 1
  mach: x
- match: a
  turns:
    - {}
    - content: [1]
    - tool_calls: [{arguments: {}}, 2]
- text
)",
                                "s.yaml");
    ASSERT_FALSE(script);
    std::string all;
    for (const auto& detail : script.error().details)
        all += detail.str() + "\n";
    EXPECT_EQ(
        all,
        "s.yaml:1:10: [0].match: invalid regular expression '(' at character 1: missing ): (\n"
        "s.yaml:2:10: [0].turns: is empty\n"
        "s.yaml:4:3: [1]: unknown field \"mach\"\n"
        "s.yaml:3:3: [1]: match is missing\n"
        "s.yaml:3:10: [1].turns: a number (expected a list)\n"
        "s.yaml:7:7: [2].turns[0]: content is missing\n"
        "s.yaml:8:16: [2].turns[1].content: a list (expected text)\n"
        "s.yaml:9:20: [2].turns[2].tool_calls[0]: name is missing\n"
        "s.yaml:9:37: [2].turns[2].tool_calls[1]: a number (expected a mapping)\n"
        "s.yaml:10:3: [3]: text (expected a mapping)\n");
    EXPECT_EQ(script.error().message, "s.yaml: the script has 10 problems");
    EXPECT_FALSE(Script::parse("a: b", "s.yaml"));
    EXPECT_FALSE(Script::parse("", "s.yaml"));
    EXPECT_EQ(Script::parse("[", "s.yaml").error().details.at(0).file, "s.yaml");
    EXPECT_EQ(Script::load("/does/not/exist").error().code, ErrorCode::kNotFound);
}

TEST(SplitText, CutsBetweenCharacters) {
    EXPECT_TRUE(splitText("", 4).empty());
    EXPECT_EQ(splitText("é", 4), (std::vector<std::string_view>{"é"}));
    std::string text = "ééééé", joined;
    for (auto piece : splitText(text, 4)) {
        EXPECT_TRUE(json::isUtf8(piece));
        joined += piece;
    }
    EXPECT_EQ(joined, text);
    EXPECT_LE(splitText(std::string(1000, 'x'), 4).size(), 4U);
}

}  // namespace
}  // namespace aegis::models
