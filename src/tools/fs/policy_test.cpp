#include "tools/fs/policy.h"

#include <gtest/gtest.h>

#include "tools/fs/fs_tools.h"
#include "tools/fs/sandbox_for_test.h"

namespace aegis::tools {
namespace {

TEST(FsPath, isFoldedByItsText) {
    struct Case {
        const char *path, *result;
    };
    for (auto [path, result] :
         {Case{"a.txt", "/workspace/a.txt"}, Case{"/a//b/./c/", "/a/b/c"}, Case{"..", "/"},
          Case{"../../../../etc/passwd", "/etc/passwd"}, Case{"/", "/"}, Case{"/a/../../b", "/b"},
          Case{".", "/workspace"}, Case{"...", "/workspace/..."}})
        EXPECT_EQ(*normalisePath(path, "/workspace"), result) << path;
}

TEST(FsPath, refusesWhatNoFileIsCalled) {
    EXPECT_FALSE(normalisePath("", "/"));
    EXPECT_FALSE(normalisePath(std::string_view("a\0b", 3), "/"));
    EXPECT_FALSE(normalisePath(std::string(256, 'a'), "/"));
    EXPECT_FALSE(normalisePath(std::string(5000, '/'), "/"));
}

TEST(FsPolicy, followsTheGrants) {
    FsPolicy policy(TestSandbox::manifest());
    for (const char* path : {"/workspace", "/workspace/a", "/etc/passwd", "/tmp/x", "/", "/tmp",
                             "/procs", "/workspaces"})
        EXPECT_TRUE(policy.mayRead(path)) << path;
    for (const char* path : {"/proc", "/proc/1/environ", "/sys/x", "/dev/null", "/aegis/api.sock"})
        EXPECT_FALSE(policy.mayRead(path)) << path;
    for (const char* path : {"/workspace/output", "/workspace/output/a/b", "/tmp/x"})
        EXPECT_TRUE(policy.mayWrite(path)) << path;
    for (const char* path : {"/workspace", "/workspace/a", "/workspace/output2", "/etc/passwd", "/",
                             "/tmp", "/tmpx", "/dev/shm/x", "/aegis/x"})
        EXPECT_FALSE(policy.mayWrite(path)) << path;
}

TEST(FsPolicy, anUngrantedVolumeIsNotReadable) {
    auto manifest = TestSandbox::manifest();
    manifest.security.filesystem.read = {"/workspace/src"};
    manifest.security.filesystem.write = std::vector<std::string>{};
    FsPolicy policy(manifest);
    EXPECT_TRUE(policy.mayRead("/workspace/src/a"));
    EXPECT_TRUE(policy.mayRead("/workspace"));
    EXPECT_FALSE(policy.mayRead("/workspace/secret"));
    EXPECT_FALSE(policy.mayWrite("/workspace/src/a"));
}

ports::ToolAdmission admit(const char* tool, std::string arguments) {
    return FsTools::admit(TestSandbox::manifest(),
                          {.id = "1", .name = tool, .arguments = std::move(arguments)});
}

TEST(FsAdmit, summariesAreTheWatchLines) {
    using Verdict = ports::ToolAdmission::Verdict;
    auto written =
        admit("fs.write", R"({"path":"output/solution.py","content":"print()\n\u00e9"})");
    EXPECT_EQ(written.verdict, Verdict::kRun) << written.reason;
    EXPECT_EQ(written.summary, "/workspace/output/solution.py (10 bytes)");
    EXPECT_FALSE(written.barrier);
    EXPECT_EQ(admit("fs.read", R"({"path":"a\nb"})").summary, "/workspace/a\\nb");
    EXPECT_TRUE(admit("fs.delete", R"({"path":"output/a"})").barrier);
    std::string deep;
    for (int i = 0; i < 15; ++i)
        deep += std::string(250, 'x') + "/";
    auto longest =
        admit("fs.write", R"({"path":"output/)" + deep + R"(","content":"abc"})").summary;
    EXPECT_LE(longest.size(), execution::kMaxSummaryBytes);
    EXPECT_TRUE(longest.ends_with(" (3 bytes)")) << longest;
}

TEST(FsAdmit, refusals) {
    struct Case {
        const char *tool, *arguments, *reason;
    };
    for (auto [tool, arguments, reason] : {
             Case{"fs.write", R"({"path":"/etc/passwd","content":"x"})",
                  "fs.write /etc/passwd: not allowed by security.filesystem.write"},
             Case{"fs.write", R"({"path":"output/../../etc/x","content":"x"})",
                  "fs.write /etc/x: not allowed by security.filesystem.write"},
             Case{"fs.read", R"({"path":"/proc/self/environ"})",
                  "fs.read /proc/self/environ: not allowed by security.filesystem.read"},
             Case{"fs.delete", R"({"path":"/workspace"})",
                  "fs.delete /workspace: not allowed by security.filesystem.write"},
             Case{"fs.read", R"({"path":""})", "fs.read: the path is empty"},
             Case{"fs.read", R"({"path":"a","offset":0})",
                  "fs.read a: argument \"offset\" must be at least 1"},
             Case{"fs.read", R"({"file":"a"})",
                  "fs.read: unknown argument \"file\"; known: path, offset, limit"},
             Case{
                 "fs.edit", R"({"path":"output/a","old_string":"","new_string":"x"})",
                 "fs.edit output/a: argument \"old_string\" is empty; use fs.write for a new file"},
             Case{"fs.edit", R"({"path":"output/a","old_string":"x","new_string":"x"})",
                  "fs.edit output/a: \"old_string\" and \"new_string\" are the same"},
         }) {
        auto admitted = admit(tool, arguments);
        EXPECT_EQ(admitted.verdict, ports::ToolAdmission::Verdict::kRefused) << arguments;
        EXPECT_EQ(admitted.reason, reason);
    }
    auto big = admit("fs.write", R"({"path":"output/a","content":")" +
                                     std::string(kMaxWriteBytes + 1, 'x') + "\"}");
    EXPECT_NE(big.reason.find("8 MiB"), std::string::npos);
}

}  // namespace
}  // namespace aegis::tools
