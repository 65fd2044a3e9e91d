#include "os/machine_probe.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace aegis::os {
namespace {

TEST(MachineProbe, AgreesWithWhatTheKernelSaysOfItself) {
    std::ifstream lsm("/sys/kernel/security/lsm");
    std::string names;
    if (std::getline(lsm, names)) {
        EXPECT_EQ(landlockAbi().has_value(), names.find("landlock") != std::string::npos);
    }
    std::ifstream actions("/proc/sys/kernel/seccomp/actions_avail");
    std::string words;
    std::getline(actions, words);
    EXPECT_EQ(seccompFilters().has_value(), words.find("kill_process") != std::string::npos);
    std::ifstream most("/proc/sys/user/max_user_namespaces");
    long count = -1;
    most >> count;
    if (count == 0) {
        EXPECT_FALSE(tryUserNamespace());
    }
}

TEST(MachineProbe, RaisesOpenFilesToWhatIsWantedOrAllowed) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit low = before;
    low.rlim_cur = 256;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    raiseOpenFiles(300);
    EXPECT_EQ(openFileLimits().soft, 300U);
    raiseOpenFiles(100);
    EXPECT_EQ(openFileLimits().soft, 300U) << "never lowered";
    raiseOpenFiles(UINT64_MAX - 1);
    EXPECT_EQ(openFileLimits().soft, openFileLimits().hard);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(MachineProbe, FactsOfPaths) {
    const std::string dir = ::testing::TempDir() + "probe-" + std::to_string(::getpid());
    auto none = pathFacts(dir);
    ASSERT_TRUE(none);
    EXPECT_FALSE(none->exists);
    ASSERT_EQ(::mkdir(dir.c_str(), 0750), 0);
    auto facts = pathFacts(dir);
    ASSERT_TRUE(facts);
    EXPECT_TRUE(facts->exists && facts->directory && facts->writable && facts->ours);
    EXPECT_EQ(facts->mode, 0750U);
    EXPECT_FALSE(pathFacts("/proc/self/exe/below").has_value());
    ::rmdir(dir.c_str());
}

}  // namespace
}  // namespace aegis::os
