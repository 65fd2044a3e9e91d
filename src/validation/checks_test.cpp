#include "validation/checks.h"

#include <gtest/gtest.h>

namespace aegis::validation {
namespace {

using agent::Validator;

TEST(Checks, ExitCode) {
    EXPECT_EQ(checkExitCode({}, 0, "noise").score, 1);
    EXPECT_EQ(checkExitCode({3}, 3, "").score, 1);
    EXPECT_EQ(checkExitCode({}, 2, "boom").detail, "exit code 2, expected 0\nstderr:\nboom");
    EXPECT_EQ(checkExitCode({}, std::nullopt, "").score, 0);
    EXPECT_EQ(checkExitCode({0, false}, 0, "noise").score, 0);
}

TEST(Checks, JsonSchemaListsEveryViolation) {
    auto schema = json::parse(
        R"({"type":"object","required":["a","output"],"properties":{"b":{"type":"string"}}})");
    auto verdict = checkJsonSchema(*schema, R"({"b":1})", true);
    EXPECT_EQ(verdict.score, 0);
    EXPECT_NE(verdict.detail.find("/: required property 'output' is missing"), std::string::npos)
        << verdict.detail;
    EXPECT_NE(verdict.detail.find("required property 'a' is missing"), std::string::npos);
    EXPECT_NE(verdict.detail.find("/b: "), std::string::npos);
    EXPECT_EQ(checkJsonSchema(*schema, "```json\n{\"a\":1,\"output\":2}\n```\n", true).score, 1);
    EXPECT_EQ(checkJsonSchema(*schema, "```json\n{\"a\":1,\"output\":2}\n```\n", false).score, 0);
    EXPECT_NE(checkJsonSchema(*schema, "nope", true).detail.find("not valid JSON"),
              std::string::npos);
}

TEST(Checks, FenceIsStrippedOnlyWhenItSurroundsAll) {
    EXPECT_EQ(stripFence("```\nx\n```"), "x");
    EXPECT_EQ(stripFence(" ```json\n{}\n``` \n"), "{}");
    for (auto same : {"x", "```x```", "a\n```\nx\n```", "```\nx", "```\nx\n```\ny"})
        EXPECT_EQ(stripFence(same), same);
}

TEST(Checks, RegexAndCommand) {
    EXPECT_EQ(checkRegex({"a+b", "output"}, "xxaab").score, 1);
    EXPECT_EQ(checkRegex({"^done$", "stdout"}, "no").detail, "stdout does not match ^done$");
    EXPECT_EQ(checkCommand({"pytest", "-q"}, 0, false, "", "").score, 1);
    EXPECT_EQ(checkCommand({"pytest", "-q"}, 1, false, "1 failed", "").detail,
              "pytest -q: exit code 1\nstdout:\n1 failed");
    EXPECT_EQ(checkCommand({"x"}, 0, true, "", "").detail, "x: timed out");
}

TEST(Chain, TheLowestScoreCountsAndTheFirstFailureEnds) {
    Chain chain;
    Validator exit{agent::ExitCodeCheck{}};
    Validator soft{agent::RegexCheck{}};
    soft.min_score = 0.5;
    EXPECT_TRUE(chain.add(exit, {1, 1, {}}));
    EXPECT_TRUE(chain.add(soft, {0.6, 1, {}}));
    EXPECT_DOUBLE_EQ(chain.result().score, 0.6);
    EXPECT_FALSE(chain.add(exit, {0, 1, "exit code 1, expected 0"}));
    auto result = chain.result();
    EXPECT_FALSE(result.passed);
    EXPECT_EQ(result.results.size(), 3U);
    EXPECT_EQ(chain.errorText(), "exit_code: exit code 1, expected 0");
}

TEST(Chain, LowConfidenceRefuses) {
    Chain chain;
    Validator v{agent::RegexCheck{}};
    v.min_confidence = 0.8;
    EXPECT_FALSE(chain.add(v, {1, 0.5, {}}));
    EXPECT_FALSE(chain.errorText().empty());
}

}  // namespace
}  // namespace aegis::validation
