#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "os/clock.h"
#include "os/files.h"
#include "sandbox/common/mounts.h"
#include "sandbox/common/oom.h"
#include "sandbox/common/run_dir.h"

namespace aegis::sandbox {
namespace {

namespace fs = std::filesystem;

struct TempDir {
    TempDir() {
        char name[] = "/tmp/aegis-sandbox-test-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~TempDir() { fs::remove_all(path); }
    std::string path;
};

NodeId testNode() { return NodeId::generate(os::systemRandom()); }

TEST(Cgroup, FindsTheCounterInBothLayouts) {
    EXPECT_EQ(oomFileOf("12:pids:/docker/ab\n5:cpu,memory:/docker/ab\n0::/x\n"),
              "/sys/fs/cgroup/memory/docker/ab/memory.oom_control");
    EXPECT_EQ(oomFileOf("0::/system.slice/docker-ab.scope\n"),
              "/sys/fs/cgroup/system.slice/docker-ab.scope/memory.events");
    EXPECT_EQ(oomFileOf("3:cpumemory:/docker/ab\n"), std::nullopt);
    EXPECT_EQ(oomFileOf(""), std::nullopt);
    EXPECT_EQ(oomFileOf("garbage\n:\n::\n0::relative"), std::nullopt);
}

TEST(Cgroup, FindsTheLimitOfTcpWhereThereIsOne) {
    EXPECT_EQ(tcpLimitFileOf("5:cpu,memory:/docker/ab\n0::/x\n"),
              "/sys/fs/cgroup/memory/docker/ab/memory.kmem.tcp.limit_in_bytes");
    EXPECT_EQ(tcpLimitFileOf("5:memory:/\n"), std::nullopt);
    EXPECT_EQ(tcpLimitFileOf("0::/system.slice/docker-ab.scope\n"), std::nullopt);
    EXPECT_TRUE(watchMemory("5:memory:/a-group-that-is-not-there\n"));
}

TEST(Cgroup, ReadsTheCounter) {
    EXPECT_EQ(parseOomKills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3U);
    EXPECT_EQ(parseOomKills("low 0\noom 4\noom_kill 2\noom_group_kill 1\n"), 2U);
    EXPECT_EQ(parseOomKills("oom_kill_disable 1\n"), std::nullopt);
    EXPECT_EQ(parseOomKills("oom_kill x\n"), std::nullopt);
}

TEST(Cgroup, TellsTheContainersFirstProcess) {
    EXPECT_TRUE(isFirstProcess("Name:\tinit\nNSpid:\t4711\t1\nNSpgid:\t1\n"));
    EXPECT_FALSE(isFirstProcess("NSpid:\t4711\t12\n"));
    EXPECT_FALSE(isFirstProcess("NSpid:\t1\n")) << "the host's own first process";
    EXPECT_FALSE(isFirstProcess("Name:\tNSpid:\t4\t1\n"));
    const std::string id(64, 'a');
    EXPECT_TRUE(inCgroupOf("0::/system.slice/docker-" + id + ".scope\n", id));
    EXPECT_FALSE(inCgroupOf("0::/docker/" + std::string(64, 'b') + "\n", id));
    EXPECT_FALSE(inCgroupOf("0::/anything", ""));
}

TEST(RunDirs, MakesRemovesAndSweeps) {
    TempDir temp;
    auto dirs = RunDirs::open(testNode(), os::systemRandom(), temp.path + "/run");
    ASSERT_TRUE(dirs) << dirs.error().message;
    auto one = dirs->create();
    auto two = dirs->create();
    ASSERT_TRUE(one && two);
    struct stat st{};
    ASSERT_EQ(::stat(one->shared.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0755U);
    ASSERT_EQ(::stat(one->captures.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0700U);
    ASSERT_EQ(::stat(dirs->root().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0700U);

    auto capture = makeCapture(*one, "stdout");
    ASSERT_TRUE(capture);
    ASSERT_TRUE(os::writeAll(capture->writer.get(), "hello"));
    EXPECT_EQ(readCapture(capture->reader, 4), "hell");

    ASSERT_TRUE(dirs->sweep({two->name}));
    EXPECT_FALSE(fs::exists(one->shared));
    EXPECT_FALSE(fs::exists(one->captures));
    EXPECT_TRUE(fs::exists(two->shared));
    EXPECT_TRUE(fs::exists(two->captures));
    ASSERT_TRUE(RunDirs::remove(*two));
    EXPECT_TRUE(fs::is_empty(dirs->root()));
}

TEST(RunDirs, LeavesNoEmptyDirectoryAndNothingThatIsInUse) {
    TempDir temp;
    std::string root;
    for (const bool in_use : {false, true}) {
        {
            auto dirs = RunDirs::open(testNode(), os::systemRandom(), temp.path + "/run");
            ASSERT_TRUE(dirs);
            root = dirs->root();
            const RunDirs moved = std::move(*dirs);
            {
                const RunDirs emptied = std::move(*dirs);
            }
            EXPECT_TRUE(fs::exists(root));
            if (in_use) fs::create_directory(root + "/01234567");
        }
        EXPECT_EQ(fs::exists(root), in_use);
    }
}

TEST(RunDirs, LieInMemoryUntilTheirEnd) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: memory is mounted";
    TempDir temp;
    const auto node = testNode();
    const auto open = [&] {
        auto dirs = RunDirs::open(node, os::systemRandom(), temp.path + "/run");
        EXPECT_TRUE(dirs && dirs->keepInMemory());
        return dirs;
    };
    std::string root;
    {
        auto dirs = open();
        ASSERT_TRUE(dirs);
        root = dirs->root();
        struct statfs disk{};
        ASSERT_EQ(::statfs(root.c_str(), &disk), 0);
        EXPECT_EQ(disk.f_type, TMPFS_MAGIC);
        struct stat st{};
        ASSERT_EQ(::stat(root.c_str(), &st), 0);
        EXPECT_EQ(st.st_mode & 0777, 0700U);
        // As when a daemon was killed: the next finds it, and what is in it.
        const auto one = dirs->create();
        ASSERT_TRUE(one);
        auto next = open();
        ASSERT_TRUE(next);
        ASSERT_EQ(::statfs(root.c_str(), &disk), 0);
        EXPECT_EQ(disk.f_type, TMPFS_MAGIC);
        EXPECT_TRUE(fs::exists(one->shared));
        ASSERT_TRUE(next->sweep({}));
        EXPECT_FALSE(fs::exists(one->shared));
        const RunDirs moved = std::move(*next);
    }
    EXPECT_FALSE(fs::exists(root));
}

TEST(RunDirs, RefusesALinkAndAPathTooLongForASocket) {
    TempDir temp;
    fs::create_directory(temp.path + "/elsewhere");
    fs::create_symlink(temp.path + "/elsewhere", temp.path + "/run");
    EXPECT_FALSE(RunDirs::open(testNode(), os::systemRandom(), temp.path + "/run"));
    EXPECT_FALSE(RunDirs::open(testNode(), os::systemRandom(), temp.path + std::string(60, 'x')));
}

struct MountsTest : ::testing::Test {
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root: directories are given to 1000:1000";
        fs::create_directory(temp.path + "/vol");
        spec.volumes = {{VolumeId{}, "workspace", "/workspace", temp.path + "/vol"}};
    }
    TempDir temp;
    ports::SandboxSpec spec;
};

TEST_F(MountsTest, CreatesListedDirectoriesForTheGuest) {
    spec.create_directories = {"/workspace/a", "/workspace/a/b", "/elsewhere/x"};
    spec.mounts = {{"workspace", "", "/workspace", false},
                   {"workspace", "a/b", "/workspace/a/b", true},
                   {"workspace", "missing", "/workspace/missing", false}};
    const auto mounts = openMounts(spec);
    ASSERT_TRUE(mounts) << mounts.error().message;
    ASSERT_EQ(mounts->size(), 2U);
    EXPECT_EQ(mounts->front().target, "/workspace");
    EXPECT_TRUE(mounts->front().read_only);
    EXPECT_EQ(mounts->back().target, "/workspace/a/b");
    EXPECT_FALSE(mounts->back().read_only);
    EXPECT_EQ(around(*mounts, mounts->back()), &mounts->front());
    EXPECT_EQ(around(*mounts, mounts->front()), nullptr);
    struct stat st{};
    for (const char* path : {"/vol/a", "/vol/a/b"}) {
        ASSERT_EQ(::stat((temp.path + path).c_str(), &st), 0);
        EXPECT_EQ(st.st_uid, 1000U);
        EXPECT_EQ(st.st_gid, 1000U);
    }
}

TEST_F(MountsTest, DoesNotFollowPlantedLinks) {
    fs::create_directory(temp.path + "/secret");
    fs::create_symlink(temp.path + "/secret", temp.path + "/vol/out");
    fs::create_symlink("..", temp.path + "/vol/up");
    for (const char* path : {"out", "up", "up/secret"}) {
        spec.create_directories.clear();
        spec.mounts = {{"workspace", path, "/workspace/x", true}};
        const auto mounts = openMounts(spec);
        ASSERT_FALSE(mounts) << path;
        EXPECT_EQ(mounts.error().code, ErrorCode::kPermissionDenied) << path;
        spec.create_directories = {std::string("/workspace/") + path + "/new"};
        EXPECT_FALSE(openMounts(spec)) << path;
    }
    EXPECT_TRUE(fs::is_empty(temp.path + "/secret"));
}

TEST_F(MountsTest, APlaceWithinAnotherGrantMayBeNoLinkEither) {
    fs::create_directories(temp.path + "/vol/data");
    fs::create_directories(temp.path + "/vol/in");
    spec.mounts = {{"workspace", "", "/workspace", true},
                   {"workspace", "data", "/workspace/in", true},
                   {"workspace", "data", "/workspace/none/yet", true}};
    EXPECT_TRUE(openMounts(spec));
    EXPECT_TRUE(fs::is_directory(temp.path + "/vol/none/yet"));
    spec.mounts[0].writable = false;
    spec.mounts[2].mount_path = "/workspace/not/there";
    const auto missing = openMounts(spec);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
    EXPECT_FALSE(fs::exists(temp.path + "/vol/not"));
    fs::remove(temp.path + "/vol/in");
    fs::create_symlink("/aegis/run", temp.path + "/vol/in");
    const auto mounts = openMounts(spec);
    ASSERT_FALSE(mounts);
    EXPECT_EQ(mounts.error().code, ErrorCode::kPermissionDenied);
}

TEST_F(MountsTest, RefusesDevicesPipesAndMissingWritablePlaces) {
    ASSERT_EQ(::mkfifo((temp.path + "/vol/pipe").c_str(), 0666), 0);
    spec.mounts = {{"workspace", "pipe", "/workspace/pipe", false}};
    EXPECT_FALSE(openMounts(spec));
    spec.mounts = {{"workspace", "gone", "/workspace/gone", true}};
    EXPECT_FALSE(openMounts(spec));
    spec.mounts = {{"other", "", "/other", false}};
    EXPECT_FALSE(openMounts(spec));
}

}  // namespace
}  // namespace aegis::sandbox
