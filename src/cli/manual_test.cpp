#include "cli/manual.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/help.h"
#include "cli/tree.h"
#include "cli/tree_for_test.h"

namespace aegis::cli {
namespace {

std::string readFile(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in) << path;
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

std::vector<const CLI::App*> leaves(const CLI::App& from) {
    std::vector<const CLI::App*> out;
    for (const auto* sub : commandsOf(from)) {
        auto below = leaves(*sub);
        if (below.empty()) below.push_back(sub);
        out.insert(out.end(), below.begin(), below.end());
    }
    return out;
}

const CLI::App* find(const CLI::App& from, std::string_view path) {
    for (const auto* sub : commandsOf(from)) {
        if (pathBelow(*sub) == path) return sub;
        if (path.starts_with(pathBelow(*sub) + " ")) return find(*sub, path);
    }
    return path.empty() ? &from : nullptr;
}

TEST(Help, EveryCommandHasAnExampleAndEveryTextACommand) {
    TestTree tree;
    for (const auto* leaf : leaves(tree.app)) {
        const auto* text = helpTextOf(pathBelow(*leaf));
        EXPECT_TRUE(text != nullptr && !text->examples.empty()) << pathBelow(*leaf);
    }
    for (const auto& text : allHelpTexts())
        EXPECT_NE(find(tree.app, text.path), nullptr) << text.path;
}

// What an example names must be there: its command, and each of its flags.
TEST(Help, ExamplesAreRight) {
    TestTree tree;
    for (const auto& text : allHelpTexts()) {
        for (const auto& example : text.examples) {
            std::istringstream words{std::string(example.line)};
            const CLI::App* at = nullptr;
            for (std::string word; words >> word;) {
                if (word == "aegis") {
                    at = &tree.app;
                    continue;
                }
                if (at == nullptr) continue;
                if (word == "|" || word == ">") at = nullptr;
                if (at == nullptr) continue;
                auto path = pathBelow(*at) + (at->get_parent() == nullptr ? "" : " ") + word;
                if (const auto* sub = find(tree.app, path)) at = sub;
                if (!word.starts_with('-') || word == "-") continue;
                bool known = false;
                for (const auto* source : {at, static_cast<const CLI::App*>(&tree.app)}) {
                    for (const auto* flag : flagsOf(*source))
                        known |= flag->check_name(word);
                }
                EXPECT_TRUE(known) << word << " in " << example.line;
            }
        }
    }
}

TEST(Help, IsWhatAUserNeeds) {
    TestTree tree;
    auto text = helpText(*find(tree.app, "agent list"), 80, false);
    EXPECT_TRUE(text.starts_with("List agents\n\nUsage:\n  aegis agent list [flags]\n")) << text;
    EXPECT_NE(text.find("--status deployed|paused|archived"), std::string::npos) << text;
    EXPECT_NE(text.find("-o, --output json|table|yaml"), std::string::npos) << text;
    EXPECT_NE(text.find("\nExamples:\n"), std::string::npos) << text;
    EXPECT_EQ(text.find("TEXT"), std::string::npos) << text;
    auto root = helpText(tree.app, 80, false);
    EXPECT_NE(root.find("\nThis machine:\n  daemon "), std::string::npos) << root;
    std::istringstream lines(root);
    for (std::string line; std::getline(lines, line);)
        EXPECT_LE(line.size(), 100U) << line;
}

TEST(Help, WrapsWords) {
    EXPECT_EQ(wrapped("one two three", 24, 0), "one two three");
    EXPECT_EQ(wrapped("aaaaaaaaaaaa bbbbbbbbbbbb cc", 26, 2), "aaaaaaaaaaaa\n  bbbbbbbbbbbb cc");
    EXPECT_EQ(wrapped("a\n\nb", 80, 0), "a\n\nb");
}

TEST(Manual, HasAPageForEachCommandOfTheFirstLevel) {
    TestTree tree;
    std::set<std::string> files;
    for (const auto& page : manPages(tree.app, "1.2.3")) {
        EXPECT_TRUE(files.insert(page.file).second);
        EXPECT_TRUE(page.text.starts_with(".TH ")) << page.file;
        EXPECT_NE(page.text.find(".SH EXAMPLES\n"), std::string::npos) << page.file;
        EXPECT_NE(page.text.find("1.2.3"), std::string::npos) << page.file;
    }
    for (const auto* sub : commandsOf(tree.app))
        EXPECT_TRUE(files.contains("aegis-" + sub->get_name() + ".1")) << sub->get_name();
    EXPECT_TRUE(files.contains("aegis.1"));
    EXPECT_EQ(files.size(), commandsOf(tree.app).size() + 1);
}

// groff reads every page without a word of complaint.
TEST(Manual, IsValidTroff) {
    TestTree tree;
    auto dir = testing::TempDir() + "aegis-man";
    for (const auto& page : manPages(tree.app, "1.2.3")) {
        auto path = dir + "-" + page.file;
        std::ofstream(path, std::ios::binary) << page.text;
        auto said = dir + "-said";
        auto command = "groff -ww -man -Tutf8 -z '" + path + "' 2> '" + said + "'";
        EXPECT_EQ(std::system(command.c_str()), 0) << page.file;
        EXPECT_EQ(readFile(said), "") << page.file;
        std::remove(path.c_str());
        std::remove(said.c_str());
    }
}

// docs/cli.md holds the reference between two marks; AEGIS_ACCEPT=1 rewrites it.
TEST(Manual, ReferenceIsThatOfTheDocumentation) {
    constexpr std::string_view kBegin = "<!-- made from the tree of commands -->\n";
    constexpr std::string_view kEnd = "\n<!-- end -->";
    TestTree tree;
    std::string path = std::string(AEGIS_SOURCE_DIR) + "/docs/cli.md";
    auto text = readFile(path);
    auto begin = text.find(kBegin);
    auto end = text.find(kEnd);
    ASSERT_NE(begin, std::string::npos);
    ASSERT_NE(end, std::string::npos);
    begin += kBegin.size();
    auto made = markdownReference(tree.app);
    EXPECT_EQ(text.substr(begin, end - begin), made);
    if (std::getenv("AEGIS_ACCEPT") == nullptr) return;
    std::ofstream(path, std::ios::binary) << text.replace(begin, end - begin, made);
}

}  // namespace
}  // namespace aegis::cli
