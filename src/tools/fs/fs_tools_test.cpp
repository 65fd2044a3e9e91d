#include "tools/fs/fs_tools.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <future>
#include <thread>

#include "os/clock.h"
#include "os/identity.h"
#include "os/worker_pool.h"
#include "tools/fs/sandbox_for_test.h"

namespace aegis::tools {
namespace {

namespace fs = std::filesystem;

class FsToolsTest : public ::testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root for a mount namespace";
        sandbox_ = std::make_unique<TestSandbox>();
        if (!sandbox_->works()) GTEST_SKIP() << "no mount namespaces here";
        pool_ = std::make_unique<os::WorkerPool>(
            2, 100, [] { EXPECT_TRUE(os::takeFileIdentity(1000, 1000)); });
    }
    static Deadline soon() { return Deadline::in(os::systemClock().boot(), 60'000); }

    ports::ToolOutcome run(std::string tool, json::Object arguments, Deadline deadline = soon()) {
        std::promise<ports::ToolOutcome> result;
        EXPECT_TRUE(pool_->submit([&] {
            result.set_value(FsTools::run(
                manifest_, {.id = "1", .name = tool, .arguments = json::dump(arguments)},
                sandbox_->root(), deadline));
        }));
        return result.get_future().get();
    }
    Result<std::string> validatorRead(const std::string& path, std::uint64_t limit = 1000) {
        std::promise<Result<std::string>> result;
        EXPECT_TRUE(pool_->submit(
            [&] { result.set_value(FsTools::readFile(sandbox_->root(), path, limit, soon())); }));
        return result.get_future().get();
    }
    std::string onHost(const std::string& path) {
        return os::readFile(sandbox_->host(path), 100 << 20).value_or("(missing)");
    }

    agent::Manifest manifest_ = TestSandbox::manifest();
    std::unique_ptr<TestSandbox> sandbox_;
    std::unique_ptr<os::WorkerPool> pool_;
};

TEST_F(FsToolsTest, writesAndReadsBack) {
    auto written = run("fs.write", {{"path", "output/a/b/c.txt"}, {"content", "one\ntwo\n"}});
    ASSERT_TRUE(written.ok) << written.reason;
    EXPECT_EQ(written.text, "wrote 8 bytes to /workspace/output/a/b/c.txt");
    EXPECT_EQ(written.summary, "/workspace/output/a/b/c.txt (8 bytes)");
    EXPECT_EQ(onHost("/volume/output/a/b/c.txt"), "one\ntwo\n");
    struct stat st{};
    ASSERT_EQ(::stat(sandbox_->host("/volume/output/a/b/c.txt").c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 1000U);
    EXPECT_EQ(st.st_gid, 1000U);
    EXPECT_EQ(st.st_mode & 07777, 0644U);
    ASSERT_EQ(::stat(sandbox_->host("/volume/output/a").c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 1000U);
    EXPECT_EQ(run("fs.read", {{"path", "output/a/b/c.txt"}}).text, "one\ntwo\n");
    EXPECT_EQ(run("fs.read", {{"path", "/etc/passwd"}}).text, "root:x:0:0\n");
    EXPECT_TRUE(run("fs.write", {{"path", "/tmp/x"}, {"content", "1"}}).ok);
    EXPECT_EQ(run("fs.read", {{"path", "/tmp/x"}}).text, "1");
}

TEST_F(FsToolsTest, overwritingKeepsTheModeAndLeavesNoTemporaryFile) {
    sandbox_->write("/volume/output/run.sh", "old");
    ::chmod(sandbox_->host("/volume/output/run.sh").c_str(), 0755);
    ASSERT_TRUE(run("fs.write", {{"path", "output/run.sh"}, {"content", "new"}}).ok);
    struct stat st{};
    ASSERT_EQ(::stat(sandbox_->host("/volume/output/run.sh").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0755U);
    EXPECT_EQ(std::distance(fs::directory_iterator(sandbox_->host("/volume/output")),
                            fs::directory_iterator{}),
              1);
}

TEST_F(FsToolsTest, readsWindowsOfLines) {
    sandbox_->write("/volume/lines", "1\n2\n3\n4\nlast");
    struct Case {
        std::int64_t offset, limit;
        const char* text;
    };
    for (auto [offset, limit, text] :
         {Case{1, 2, "1\n2\n[more follows: read on with offset 3]"},
          Case{3, 2, "3\n4\n[more follows: read on with offset 5]"}, Case{5, 1, "last"},
          Case{4, 9, "4\nlast"}, Case{1, INT64_MAX, "1\n2\n3\n4\nlast"}})
        EXPECT_EQ(run("fs.read", {{"path", "lines"}, {"offset", offset}, {"limit", limit}}).text,
                  text);
    EXPECT_EQ(run("fs.read", {{"path", "lines"}, {"offset", 6}}).reason,
              "fs.read /workspace/lines: offset 6 is beyond the last line (5)");
    sandbox_->write("/volume/empty", "");
    EXPECT_EQ(run("fs.read", {{"path", "empty"}}).text, "");
    EXPECT_TRUE(run("fs.read", {{"path", "empty"}}).ok);
}

TEST_F(FsToolsTest, longFilesAreReadInParts) {
    std::string line(999, 'x'), whole;
    for (int i = 0; i < 1000; ++i)
        whole += line + "\n";
    sandbox_->write("/volume/big", whole);
    std::string joined;
    std::int64_t offset = 1;
    for (int part = 0; part < 10; ++part) {
        auto text = run("fs.read", {{"path", "big"}, {"offset", offset}}).text;
        auto mark = text.find("[more follows: read on with offset ");
        joined += text.substr(0, mark);
        if (mark == std::string::npos) break;
        EXPECT_LE(mark, kMaxReadBytes);
        offset = std::stoll(text.substr(mark + 35));
    }
    EXPECT_EQ(joined, whole);
    sandbox_->write("/volume/wide", std::string(kMaxReadBytes + 1, 'y'));
    EXPECT_NE(run("fs.read", {{"path", "wide"}}).text.find("[line 1 is longer than"),
              std::string::npos);
    sandbox_->write("/volume/binary", std::string("a\0b", 3));
    EXPECT_EQ(run("fs.read", {{"path", "binary"}}).reason,
              "fs.read /workspace/binary: is a binary file; fs.read reads text");
}

TEST_F(FsToolsTest, whatMayNotBeReadIsNot) {
    fs::create_symlink("/aegis/bootstrap.py", sandbox_->host("/volume/to-aegis"));
    fs::create_symlink("/proc/1/environ", sandbox_->host("/volume/to-proc"));
    fs::create_symlink("/proc/self/root/etc/passwd", sandbox_->host("/volume/magic"));
    fs::create_symlink("../../../../../../outside", sandbox_->host("/volume/up"));
    fs::create_symlink("/workspace/loop", sandbox_->host("/volume/loop"));
    fs::create_symlink("/etc/passwd", sandbox_->host("/volume/to-image"));
    ASSERT_EQ(::mkfifo(sandbox_->host("/volume/fifo").c_str(), 0666), 0);
    ASSERT_EQ(::mknod(sandbox_->host("/volume/null").c_str(), S_IFCHR | 0666, 0x103), 0);
    int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    sandbox_->host("/volume/socket").copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    struct Case {
        const char *path, *why;
    };
    for (auto [path, why] :
         {Case{"to-aegis", "not allowed by security.filesystem.read"},
          Case{"to-proc", "not allowed by security.filesystem.read"},
          Case{"magic", "too many levels of symbolic links"},
          Case{"up", "no such file or directory"},
          Case{"loop", "too many levels of symbolic links"},
          Case{"fifo", "is a FIFO, not a regular file"},
          Case{"null", "is a device, not a regular file"},
          Case{"socket", "is a socket, not a regular file"},
          Case{"output", "is a directory; use fs.list"},
          Case{"missing", "no such file or directory"}, Case{"to-image/x", "not a directory"},
          Case{"/etc/shadow", "permission denied"}}) {
        auto read = run("fs.read", {{"path", path}});
        EXPECT_FALSE(read.ok) << path;
        EXPECT_NE(read.reason.find(why), std::string::npos) << path << " " << read.reason;
    }
    ::close(server);
    EXPECT_EQ(run("fs.read", {{"path", "to-image"}}).text, "root:x:0:0\n");
}

TEST_F(FsToolsTest, whatMayNotBeWrittenIsNot) {
    fs::create_symlink("/etc", sandbox_->host("/volume/output/etc"));
    fs::create_symlink("/workspace", sandbox_->host("/volume/output/back"));
    fs::create_symlink("/proc", sandbox_->host("/volume/output/proc"));
    fs::create_symlink("/etc/passwd", sandbox_->host("/volume/output/passwd"));
    fs::create_symlink("../../../../outside", sandbox_->host("/volume/output/up"));
    sandbox_->write("/volume/output/locked", "mine");
    ::chmod(sandbox_->host("/volume/output/locked").c_str(), 0444);
    ASSERT_EQ(::mkfifo(sandbox_->host("/volume/output/fifo").c_str(), 0666), 0);
    struct Case {
        const char *path, *why;
    };
    for (auto [path, why] : {Case{"output/etc/passwd", "not allowed by security.filesystem.write"},
                             Case{"output/etc/new/x", "not allowed by security.filesystem.write"},
                             Case{"output/back/x", "not allowed by security.filesystem.write"},
                             Case{"output/passwd", "not allowed by security.filesystem.write"},
                             Case{"output/proc/sys/x", "not allowed by security.filesystem"},
                             Case{"output/up", "not allowed by security.filesystem.write"},
                             Case{"output/locked", "permission denied"},
                             Case{"output/fifo", "exists and is not a regular file"},
                             Case{"output", "not allowed by security.filesystem.write"}}) {
        auto written = run("fs.write", {{"path", path}, {"content", "x"}});
        EXPECT_FALSE(written.ok) << path;
        EXPECT_NE(written.reason.find(why), std::string::npos) << path << " " << written.reason;
    }
    EXPECT_EQ(onHost("/image/etc/passwd"), "root:x:0:0\n");
    EXPECT_EQ(onHost("/outside"), "of the host\n");
    EXPECT_EQ(onHost("/volume/output/locked"), "mine");
}

TEST_F(FsToolsTest, linksWithinTheGrantAreFollowed) {
    sandbox_->write("/volume/output/real", "old");
    fs::create_symlink("real", sandbox_->host("/volume/output/link"));
    ASSERT_TRUE(run("fs.write", {{"path", "output/link"}, {"content", "new"}}).ok);
    EXPECT_EQ(onHost("/volume/output/real"), "new");
    EXPECT_TRUE(fs::is_symlink(sandbox_->host("/volume/output/link")));
    ASSERT_TRUE(run("fs.delete", {{"path", "output/link"}}).ok);
    EXPECT_EQ(onHost("/volume/output/real"), "new");
}

TEST_F(FsToolsTest, edits) {
    sandbox_->write("/volume/output/a", "one two two three");
    auto edit = [&](const char* from, const char* to, bool all = false) {
        return run(
            "fs.edit",
            {{"path", "output/a"}, {"old_string", from}, {"new_string", to}, {"replace_all", all}});
    };
    EXPECT_NE(edit("four", "4").reason.find("does not occur"), std::string::npos);
    EXPECT_NE(edit("two", "2").reason.find("occurs 2 times"), std::string::npos);
    EXPECT_EQ(edit("one", "1").text, "replaced 1 occurrence in /workspace/output/a");
    EXPECT_EQ(edit("two", "2", true).text, "replaced 2 occurrences in /workspace/output/a");
    EXPECT_EQ(onHost("/volume/output/a"), "1 2 2 three");
}

TEST_F(FsToolsTest, aFullVolumeIsSaid) {
    auto written = run("fs.write", {{"path", "/tmp/big"}, {"content", std::string(3 << 20, 'x')}});
    EXPECT_EQ(written.reason, "fs.write /tmp/big: no space left on volume");
    EXPECT_EQ(run("fs.list", {{"path", "/tmp"}}).text, R"({"entries":[],"truncated":false})");
}

TEST_F(FsToolsTest, lists) {
    sandbox_->write("/volume/b", "12345");
    sandbox_->write("/volume/output/c", "1");
    fs::create_symlink("/etc", sandbox_->host("/volume/a"));
    EXPECT_EQ(run("fs.list", {{"path", "."}}).text,
              R"({"entries":[{"name":"a","type":"link"},{"name":"b","type":"file","size":5},)"
              R"({"name":"output","type":"directory"}],"truncated":false})");
    EXPECT_EQ(run("fs.list", {{"path", "."}, {"recursive", true}}).text,
              R"({"entries":[{"name":"a","type":"link"},{"name":"b","type":"file","size":5},)"
              R"({"name":"output","type":"directory"},{"name":"output/c","type":"file","size":1}],)"
              R"("truncated":false})");
    EXPECT_EQ(run("fs.list", {{"path", "/"}, {"recursive", true}}).text.find("\"proc/"),
              std::string::npos);
    for (int i = 0; i < 2001; ++i)
        sandbox_->write(fmt::format("/volume/output/f{}", i), "");
    auto many = run("fs.list", {{"path", "output"}}).text;
    EXPECT_TRUE(many.ends_with("\"truncated\":true}"));
    EXPECT_FALSE(run("fs.list", {{"path", "b"}}).ok);
}

TEST_F(FsToolsTest, createsDirectories) {
    EXPECT_EQ(run("fs.create_dir", {{"path", "output/x/y"}}).text, "created /workspace/output/x/y");
    EXPECT_TRUE(fs::is_directory(sandbox_->host("/volume/output/x/y")));
    EXPECT_EQ(run("fs.create_dir", {{"path", "output/x/y"}}).text,
              "/workspace/output/x/y exists already");
    EXPECT_NE(run("fs.create_dir", {{"path", "output/p/q"}, {"recursive", false}})
                  .reason.find("no such file"),
              std::string::npos);
    EXPECT_TRUE(run("fs.create_dir", {{"path", "output/p"}, {"recursive", false}}).ok);
}

TEST_F(FsToolsTest, deletes) {
    run("fs.write", {{"path", "output/d/e/f"}, {"content", "x"}});
    fs::create_directory_symlink("/workspace", sandbox_->host("/volume/output/d/link"));
    sandbox_->write("/volume/kept", "x");
    EXPECT_NE(run("fs.delete", {{"path", "output/d"}}).reason.find("not empty"), std::string::npos);
    auto deleted = run("fs.delete", {{"path", "output/d"}, {"recursive", true}});
    EXPECT_TRUE(deleted.ok) << deleted.reason;
    EXPECT_FALSE(fs::exists(sandbox_->host("/volume/output/d")));
    EXPECT_EQ(onHost("/volume/kept"), "x");
    EXPECT_NE(run("fs.delete", {{"path", "output/d"}}).reason.find("no such file"),
              std::string::npos);
    EXPECT_FALSE(run("fs.delete", {{"path", "output"}, {"recursive", true}}).ok);
    EXPECT_FALSE(run("fs.delete", {{"path", "/tmp"}, {"recursive", true}}).ok);
    EXPECT_TRUE(fs::exists(sandbox_->host("/volume/output")));
}

TEST_F(FsToolsTest, globsAndGreps) {
    for (const char* path : {"/volume/a.py", "/volume/output/b.py", "/volume/output/c.txt"})
        sandbox_->write(path, "first\nneedle here\n");
    sandbox_->write("/volume/binary", std::string("needle\0", 7));
    auto glob = [&](const char* pattern) { return run("fs.glob", {{"pattern", pattern}}).text; };
    EXPECT_EQ(glob("*.py"), "/workspace/a.py");
    EXPECT_EQ(glob("**/*.py"), "/workspace/a.py\n/workspace/output/b.py");
    EXPECT_EQ(glob("/workspace/output/*"), "/workspace/output/b.py\n/workspace/output/c.txt");
    EXPECT_EQ(glob("output/[!b]*.{txt,md}"), "/workspace/output/c.txt");
    EXPECT_EQ(glob("*.none"), "no match");
    EXPECT_NE(run("fs.glob", {{"pattern", "a[b"}}).reason.find("[ without a ]"), std::string::npos);
    EXPECT_EQ(run("fs.grep", {{"pattern", "need.e"}, {"glob", "*.py"}}).text,
              "/workspace/a.py:2:needle here\n/workspace/output/b.py:2:needle here");
    EXPECT_EQ(run("fs.grep", {{"pattern", "^f"}, {"path", "a.py"}}).text,
              "/workspace/a.py:1:first");
    EXPECT_EQ(run("fs.grep", {{"pattern", "nothing"}}).text, "no match");
    EXPECT_FALSE(run("fs.grep", {{"pattern", "("}}).ok);
}

TEST_F(FsToolsTest, validatorsReadWhatTheSandboxSees) {
    sandbox_->write("/volume/output/result.json", "{}");
    EXPECT_EQ(*validatorRead("/workspace/output/result.json"), "{}");
    EXPECT_EQ(*validatorRead("/etc/passwd"), "root:x:0:0\n");
    EXPECT_EQ(validatorRead("/etc/passwd", 3).error().code, ErrorCode::kTooLarge);
    EXPECT_EQ(validatorRead("/proc/1/status").error().code, ErrorCode::kPermissionDenied);
    EXPECT_EQ(validatorRead("/aegis/bootstrap.py").error().code, ErrorCode::kPermissionDenied);
    EXPECT_EQ(validatorRead("/none").error().code, ErrorCode::kNotFound);
    EXPECT_FALSE(validatorRead("/workspace"));
}

TEST_F(FsToolsTest, aPassedDeadlineIsAnError) {
    sandbox_->write("/volume/a", "x");
    EXPECT_EQ(run("fs.read", {{"path", "a"}}, Deadline{BootTime{1}}).reason,
              "fs.read /workspace/a: took too long");
}

// A guest swaps a directory for a link to a place it may not write, as fast as it can.
TEST_F(FsToolsTest, racingRenamesLeadNowhereElse) {
    auto output = sandbox_->host("/volume/output");
    fs::create_directory(output + "/real");
    fs::create_directory(sandbox_->host("/volume/victim"));
    sandbox_->write("/volume/victim/file", "untouched");
    sandbox_->write("/outside-file", "untouched");
    for (const char* path : {"/volume/output/real", "/volume/victim"})
        ASSERT_EQ(::chown(sandbox_->host(path).c_str(), 1000, 1000), 0);
    fs::create_directory_symlink("/workspace/victim", output + "/evil");
    fs::create_directory_symlink(sandbox_->host(""), output + "/host");
    std::atomic<bool> stop = false;
    std::thread racer([&] {
        auto a = output + "/real", b = output + "/dir", c = output + "/evil", d = output + "/host";
        while (!stop) {
            ::rename(a.c_str(), b.c_str());
            ::rename(b.c_str(), a.c_str());
            ::rename(c.c_str(), b.c_str());
            ::rename(b.c_str(), c.c_str());
            ::rename(d.c_str(), b.c_str());
            ::rename(b.c_str(), d.c_str());
        }
    });
    int written = 0, refused = 0;
    for (int i = 0; i < 500; ++i) {
        auto outcome = run("fs.write", {{"path", "output/dir/file"}, {"content", "attack"}});
        outcome.ok ? ++written : ++refused;
        run("fs.delete", {{"path", "output/dir/file"}});
        auto read = run("fs.read", {{"path", "output/dir/outside-file"}});
        EXPECT_FALSE(read.ok);
    }
    stop = true;
    racer.join();
    EXPECT_GT(written, 0);
    EXPECT_GT(refused, 0);
    EXPECT_EQ(onHost("/volume/victim/file"), "untouched");
    EXPECT_EQ(onHost("/outside-file"), "untouched");
    EXPECT_FALSE(fs::exists(sandbox_->host("/file")));
    EXPECT_EQ(std::distance(fs::directory_iterator(sandbox_->host("/volume/victim")),
                            fs::directory_iterator{}),
              1);
}

}  // namespace
}  // namespace aegis::tools
