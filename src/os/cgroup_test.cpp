#include "os/cgroup.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "os/clock.h"
#include "os/files.h"

namespace aegis::os {
namespace {

/// Of a version 1 with three hierarchies, on plain directories.
class Hierarchies : public ::testing::Test {
  protected:
    void SetUp() override {
        auto pattern = std::filesystem::temp_directory_path() / "cgroup-test-XXXXXX";
        dir_ = pattern.string();
        ASSERT_NE(::mkdtemp(dir_.data()), nullptr);
        for (const char* name : {"/cpu", "/memory", "/pids"}) {
            std::filesystem::create_directory(dir_ + name);
            paths_.push_back(dir_ + name);
        }
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    std::string dir_;
    std::vector<std::string> paths_;
};

TEST_F(Hierarchies, AProcessIsInAGroupOnlyIfAllControllersSaySo) {
    const auto tree = CgroupTree::openAt(paths_, false, "node");
    ASSERT_TRUE(tree);
    const std::string in =
        "12:pids:/x/aegis/node/a\n7:freezer:/\n5:cpu,cpuacct:/aegis/node/a\n"
        "3:memory:/aegis/node/a\n0::/\n";
    EXPECT_TRUE(tree->holds(in, "a"));
    EXPECT_FALSE(tree->holds(in, "b"));
    for (const std::string out :
         {"12:pids:/x/aegis/node/", "5:cpu,cpuacct:/aegis/node/", "3:memory:/aegis/node/"}) {
        auto other = in;
        other.replace(other.find(out) + out.size(), 1, "b");
        EXPECT_FALSE(tree->holds(other, "a")) << out;
    }
    EXPECT_FALSE(tree->holds(in + "broken", "node/a")) << "another's group, by its tail";
    EXPECT_FALSE(tree->holds("0::/aegis/node/a\n", "a"));
    EXPECT_FALSE(tree->holds("", "a"));
}

TEST(Cgroup, AProcessGoesThroughTheDoorsAsWhoeverItIs) {
    if (::geteuid() != 0) GTEST_SKIP() << "this test needs root";
    const auto tree = CgroupTree::open("test-" + std::to_string(::getpid()));
    ASSERT_TRUE(tree) << tree.error().message;
    if (tree->version2()) GTEST_SKIP() << "version 2 has none";
    ASSERT_TRUE(tree->create("a", {1000, 64 << 20, 8}));
    const auto doors = tree->entrance("a");
    ASSERT_TRUE(doors);
    const pid_t pid = ::fork();
    if (pid == 0) {
        bool good = ::setresuid(54321, 54321, 54321) == 0;
        for (const auto& door : *doors)
            good = good && writeAll(door.get(), "0").has_value();
        const auto own = readFile("/proc/self/cgroup", 64 << 10);
        ::_exit(good && own && tree->holds(*own, "a") ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(tree->remove("a"));
    tree->close();
}

TEST(Cgroup, DoorsOpenedForOneUserLetNobodyElseIn) {
    if (::geteuid() != 0) GTEST_SKIP() << "this test needs root";
    const auto tree = CgroupTree::open("test-" + std::to_string(::getpid()));
    ASSERT_TRUE(tree) << tree.error().message;
    if (tree->version2()) GTEST_SKIP() << "version 2 has none";
    constexpr uid_t kOwn = 0x70010005;
    ASSERT_TRUE(tree->create("a", {1000, 64 << 20, 8}));
    const auto doors = tree->entrance("a", kOwn);
    ASSERT_TRUE(doors) << doors.error().message;
    EXPECT_EQ(::geteuid(), 0U);
    // The test's own process is not moved, though it is root that writes.
    for (const auto& door : *doors) {
        const auto own = std::to_string(::getpid());
        EXPECT_EQ(::write(door.get(), own.data(), own.size()), -1);
        EXPECT_EQ(errno, EACCES);
    }
    const pid_t pid = ::fork();
    if (pid == 0) {
        bool good = ::setresuid(54321, 54321, kOwn) == 0;
        for (const auto& door : *doors)
            good = good && writeAll(door.get(), "0").has_value();
        const auto own = readFile("/proc/self/cgroup", 64 << 10);
        good = good && own && tree->holds(*own, "a");
        // Once it has changed users, nothing goes through any more.
        good = good && ::setresuid(54321, 54321, 54321) == 0;
        for (const auto& door : *doors)
            good = good && !writeAll(door.get(), "0").has_value();
        ::_exit(good ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(tree->remove("a"));
    tree->close();
}

}  // namespace
}  // namespace aegis::os
