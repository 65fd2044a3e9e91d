#include "os/delegation.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace aegis::os {
namespace {

/// A version 2 on plain directories.
class Delegation : public ::testing::Test {
  protected:
    void SetUp() override {
        auto pattern = std::filesystem::temp_directory_path() / "delegation-test-XXXXXX";
        dir_ = pattern.string();
        ASSERT_NE(::mkdtemp(dir_.data()), nullptr);
        std::filesystem::create_directories(dir_ + "/user/scope/aegis-daemon");
        for (const char* file : {"cgroup.procs", "cgroup.subtree_control"})
            write(file, "");
        write("cgroup.controllers", "cpuset cpu io memory pids\n");
        mounts_ = "cgroup2 " + dir_ + " cgroup2 rw,nosuid,nsdelegate 0 0\n";
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    void write(const std::string& name, const std::string& text) const {
        std::ofstream(dir_ + "/user/scope/" + name) << text;
    }
    std::string whyNot(const std::string& own) const {
        const auto found = delegatedCgroupIn(mounts_, own);
        if (found) return "found " + *found;
        EXPECT_EQ(found.error().code, ErrorCode::kUnsupported);
        EXPECT_FALSE(found.error().hint.empty());
        return found.error().message;
    }

    std::string dir_, mounts_;
};

TEST_F(Delegation, IsThisProcessesOwnCgroupOrTheOneAboveWhereADaemonMadeRoom) {
    EXPECT_EQ(whyNot("0::/user/scope\n"), "found " + dir_ + "/user/scope");
    EXPECT_EQ(whyNot("0::/user/scope/aegis-daemon\n"), "found " + dir_ + "/user/scope");
}

TEST_F(Delegation, WhatIsMissingIsNamed) {
    EXPECT_EQ(whyNot("0::/\n"), "this process is in no cgroup of its user's");
    EXPECT_EQ(whyNot("3:memory:/user/scope\n"), "this process is in no cgroup of its user's");
    EXPECT_EQ(whyNot("0::/user\n"), "the cgroup /user is not delegated to this user");
    write("cgroup.controllers", "memory pids\n");
    EXPECT_EQ(whyNot("0::/user/scope\n"), "the cgroup /user/scope is delegated without cpu");
    write("cgroup.controllers", "cpuset hugetlb\n");
    EXPECT_EQ(whyNot("0::/user/scope\n"),
              "the cgroup /user/scope is delegated without cpu, memory, pids");
    mounts_ = "a /c cgroup rw,cpu 0 0\nb /m cgroup rw,memory 0 0\n";
    EXPECT_EQ(whyNot("0::/user/scope\n"),
              "cgroups of version 1 cannot be delegated to an ordinary user");
}

}  // namespace
}  // namespace aegis::os
