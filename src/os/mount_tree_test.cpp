#include "os/mount_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "os/files.h"
#include "os/mount.h"

namespace aegis::os {
namespace {

namespace fs = std::filesystem;

/// Mounts `path` of the host's, with these attributes, at `place`.
bool mountCopy(const std::string& path, std::uint64_t attributes, const std::string& place) {
    const auto source = openFile(path, O_PATH | O_DIRECTORY);
    const auto target = openFile(place, O_PATH | O_DIRECTORY);
    if (!source || !target) return false;
    const auto tree = cloneTree(source->get(), attributes, path);
    return tree && attachTree(tree->get(), target->get(), place);
}

/// In namespaces of its own, in a child. Exit code 0: all is as it should be.
int copiesOfASharedMount(const std::string& dir) {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", dir.c_str(), "tmpfs", 0, nullptr) != 0 ||
        ::mount(nullptr, dir.c_str(), nullptr, MS_SHARED, nullptr) != 0)
        return 1;
    fs::create_directories(dir + "/volume/part");
    fs::create_directory(dir + "/place");
    if (!mountCopy(dir + "/volume", MOUNT_ATTR_RDONLY, dir + "/place")) return 2;
    if (!mountCopy(dir + "/volume/part", 0, dir + "/place/part")) return 3;
    if (::mkdir((dir + "/place/part/new").c_str(), 0755) != 0) return 4;
    if (::mkdir((dir + "/place/new").c_str(), 0755) == 0) return 5;
    // What is mounted within the copy is not mounted within the original.
    const auto leaked = isMountPoint(dir + "/volume/part");
    return leaked && !*leaked ? 0 : 6;
}

// Where systemd is the first process, every mount is shared.
TEST(MountTree, CopiesOfASharedMountArePrivate) {
    if (::geteuid() != 0) GTEST_SKIP() << "this test needs root";
    auto dir = (fs::temp_directory_path() / "mount-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(dir.data()), nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(copiesOfASharedMount(dir));
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    fs::remove(dir);
}

}  // namespace
}  // namespace aegis::os
