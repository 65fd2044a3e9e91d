#include "cli/completion.h"

#include <gtest/gtest.h>

#include "cli/tree_for_test.h"

namespace aegis::cli {
namespace {

using Words = std::vector<std::string>;

class CompletionTest : public testing::Test {
  protected:
    Completion run(const Words& words) {
        asked_.clear();
        return complete(tree_.app, words, [&](const NameQuery& query) -> std::vector<Candidate> {
            asked_ = std::string(query.command);
            switch (query.kind) {
                case ValueKind::kAgent:
                    return {{"coder", "deployed"}, {"cleaner", "paused"}, {"reviewer", ""}};
                case ValueKind::kExecution:
                    return {{"@last", ""}, {"11111111-0000-4000-8000-000000000000", "coder"}};
                case ValueKind::kVolume:
                    return {{"22222222-0000-4000-8000-000000000000", "workspace"}};
                default:
                    return {{"default", ""}, {"reasoning", ""}};
            }
        });
    }
    Words values(const Words& words) {
        Words out;
        for (const auto& candidate : run(words).candidates)
            out.push_back(candidate.value);
        return out;
    }
    bool offers(const Words& words, const std::string& value) {
        auto all = values(words);
        return std::ranges::find(all, value) != all.end();
    }

    TestTree tree_;
    std::string asked_;
};

TEST_F(CompletionTest, OffersCommands) {
    EXPECT_EQ(values({"execut"}), Words({"execute", "execution"}));
    EXPECT_EQ(values({"agent", "de"}), Words({"deploy", "delete"}));
    EXPECT_EQ(values({"-o", "json", "agent", "pa"}), Words({"pause"}));
    EXPECT_EQ(values({"--output=json", "agent", "pa"}), Words({"pause"}));
    EXPECT_TRUE(values({"agent", "nonsense", ""}).empty());
    EXPECT_TRUE(values({"nonsense", "x"}).empty());
    EXPECT_FALSE(offers({""}, "__complete"));
}

TEST_F(CompletionTest, OffersFlagsOfTheCommandAndGlobalOnes) {
    EXPECT_EQ(values({"execute", "--max"}), Words({"--max-iterations"}));
    EXPECT_EQ(values({"execute", "--out"}), Words({"--output"}));
    EXPECT_TRUE(values({"execute", "--watch", "--wat"}).empty()) << "given already";
    EXPECT_EQ(values({"execute", "--label", "a=b", "--lab"}), Words({"--label"})) << "repeatable";
    EXPECT_EQ(values({"agent", "list", "-q"}), Words({"-q"}));
    EXPECT_TRUE(values({"agent", "delete", "--", "--ye"}).empty());
}

TEST_F(CompletionTest, OffersTheWordsOfAValue) {
    EXPECT_EQ(values({"agent", "list", "--status", ""}), Words({"deployed", "paused", "archived"}));
    EXPECT_EQ(values({"agent", "list", "--status=p"}), Words({"--status=paused"}));
    EXPECT_EQ(values({"agent", "list", "-o", "j"}), Words({"json"}));
    EXPECT_EQ(values({"schema", ""}), Words({"agent", "config"}));
    EXPECT_EQ(values({"completion", "z"}), Words({"zsh"}));
    EXPECT_EQ(values({"help", "volu"}), Words({"volume"}));
}

TEST_F(CompletionTest, AsksTheDaemonForNames) {
    EXPECT_EQ(values({"execute", "--agent", "c"}), Words({"coder", "cleaner"}));
    EXPECT_EQ(values({"agent", "get", "r"}), Words({"reviewer"}));
    EXPECT_TRUE(values({"agent", "get", "coder", "r"}).empty()) << "takes one";
    EXPECT_EQ(values({"agent", "pause", "coder", "r"}), Words({"reviewer"})) << "takes several";
    EXPECT_EQ(asked_, "agent pause");
    EXPECT_EQ(values({"execution", "get", "@"}), Words({"@last"}));
    EXPECT_EQ(values({"execution", "list", "--agent", "cl"}), Words({"cleaner"}));
    EXPECT_EQ(values({"volume", "get", "2"}), Words({"22222222-0000-4000-8000-000000000000"}));
    EXPECT_EQ(values({"volume", "list", "--execution", "1"}),
              Words({"11111111-0000-4000-8000-000000000000"}));
    EXPECT_EQ(values({"execute", "--model", "rea"}), Words({"reasoning"}));
}

TEST_F(CompletionTest, LeavesFilesToTheShell) {
    EXPECT_EQ(run({"agent", "deploy", "ex"}).action, ShellAction::kFiles);
    EXPECT_EQ(run({"--config", ""}).action, ShellAction::kFiles);
    EXPECT_EQ(run({"execute", "--input", "@"}).action, ShellAction::kAtFiles);
    EXPECT_EQ(run({"agent", "list", ""}).action, ShellAction::kNone);
}

TEST_F(CompletionTest, EscapesWhatTheDaemonSays) {
    EXPECT_EQ(completionText({{{"a", "line\nbreak\x1b"}, {"b", ""}}, ShellAction::kFiles}),
              "a\tline\\nbreak\\x1b\nb\n:files\n");
}

TEST(Completion, FindsGlobalFlags) {
    EXPECT_EQ(globalValue({"--daemon-addr", "h:1", "agent"}, "--daemon-addr"), "h:1");
    EXPECT_EQ(globalValue({"agent", "--daemon-addr=h:1"}, "--daemon-addr"), "h:1");
    EXPECT_EQ(globalValue({"agent", "--daemon-addr"}, "--daemon-addr"), "");
}

}  // namespace
}  // namespace aegis::cli
