#include "text/line_diff.h"

#include <gtest/gtest.h>

#include <random>
#include <sstream>
#include <vector>

namespace aegis::text {
namespace {

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
        out.push_back(line);
    return out;
}

/// What patch(1) would make of `before`; fails where a hunk does not fit. Every line of the texts
/// ends with a newline.
std::string patched(const std::string& before, const std::string& diff) {
    auto old = split(before);
    std::string out;
    std::size_t at = 0;
    auto lines = split(diff);
    for (std::size_t i = 2; i < lines.size(); ++i) {
        const auto& line = lines[i];
        if (line.starts_with("@@ -")) {
            auto first = std::stoul(line.substr(4));
            bool none = line.substr(4, line.find(' ', 4) - 4).ends_with(",0");
            auto to = none ? first : first - 1;
            while (at < to)
                out += old.at(at++) + "\n";
            continue;
        }
        if (line[0] == '+') {
            out += line.substr(1) + "\n";
            continue;
        }
        EXPECT_EQ(old.at(at), line.substr(1));
        if (line[0] == ' ') out += old[at] + "\n";
        ++at;
    }
    while (at < old.size())
        out += old[at++] + "\n";
    return out;
}

TEST(LineDiff, NothingForEqualTexts) {
    EXPECT_EQ(unifiedDiff("", "", "a", "b"), "");
    EXPECT_EQ(unifiedDiff("x\ny\n", "x\ny\n", "a", "b"), "");
}

TEST(LineDiff, AsDiffPrintsIt) {
    EXPECT_EQ(
        unifiedDiff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n", "a", "b"),
        "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    EXPECT_EQ(unifiedDiff("", "x\n", "a", "b"), "--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n");
    EXPECT_EQ(unifiedDiff("x\n", "", "a", "b"), "--- a\n+++ b\n@@ -1 +0,0 @@\n-x\n");
    EXPECT_EQ(unifiedDiff("x", "x\n", "a", "b"),
              "--- a\n+++ b\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n");
}

TEST(LineDiff, DistantChangesAreHunksOfTheirOwn) {
    std::string before, near, far;
    for (int i = 0; i < 30; ++i) {
        auto line = std::to_string(i) + "\n";
        before += line;
        near += i == 5 || i == 12 ? "x\n" : line;
        far += i == 5 || i == 13 ? "x\n" : line;
    }
    auto hunks = [&](const std::string& after) {
        auto diff = unifiedDiff(before, after, "a", "b");
        std::size_t count = 0;
        for (const auto& line : split(diff))
            count += line.starts_with("@@") ? 1 : 0;
        return count;
    };
    EXPECT_EQ(hunks(near), 1U);
    EXPECT_EQ(hunks(far), 2U);
}

TEST(LineDiff, IsLeast) {
    auto diff = unifiedDiff("a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n", "a", "b");
    std::size_t edits = 0;
    for (const auto& line : split(diff))
        edits += (line[0] == '-' || line[0] == '+') && line.size() == 2 ? 1 : 0;
    EXPECT_EQ(edits, 5U) << diff;  // the example of Myers' article
}

TEST(LineDiff, PatchMakesTheOther) {
    std::mt19937 chance(7);
    for (int round = 0; round < 500; ++round) {
        auto text = [&] {
            std::string out;
            for (auto n = chance() % 40; n > 0; --n)
                out += std::string(1, static_cast<char>('a' + chance() % 4)) + "\n";
            return out;
        };
        auto before = text(), after = text();
        auto diff = unifiedDiff(before, after, "a", "b");
        EXPECT_EQ(patched(before, diff), after) << before << "---\n" << after << diff;
    }
}

TEST(LineDiff, TextsWithNothingInCommon) {
    std::string before, after;
    for (int i = 0; i < 5000; ++i) {
        before += "old " + std::to_string(i) + "\n";
        after += "new " + std::to_string(i) + "\n";
    }
    EXPECT_EQ(patched(before, unifiedDiff(before, after, "a", "b")), after);
}

}  // namespace
}  // namespace aegis::text
