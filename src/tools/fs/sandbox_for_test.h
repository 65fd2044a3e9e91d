#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "agent/manifest.h"
#include "os/fd.h"
#include "os/files.h"

namespace aegis::tools {

/// A process in a mount namespace and root of its own, with the mounts that a container would have:
/// an image, /workspace read-only, /workspace/output read-write, /tmp, /proc, /aegis. Needs root.
class TestSandbox {
  public:
    TestSandbox() {
        auto pattern = (std::filesystem::temp_directory_path() / "aegis-fs-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) return;
        base_ = pattern;
        ::chmod(base_.c_str(), 0755);
        for (const char* dir : {"/image/etc", "/image/workspace", "/image/tmp", "/image/proc",
                                "/image/aegis", "/image/dev", "/volume/output", "/aegis"})
            std::filesystem::create_directories(base_ + dir);
        write("/image/etc/passwd", "root:x:0:0\n");
        write("/image/etc/shadow", "secret\n");
        if (::chown((base_ + "/image/etc/shadow").c_str(), 0, 0) != 0) return;
        ::chmod((base_ + "/image/etc/shadow").c_str(), 0600);
        write("/aegis/bootstrap.py", "hidden\n");
        write("/outside", "of the host\n");
        for (const char* dir : {"/volume", "/volume/output"})
            if (::chown((base_ + dir).c_str(), 1000, 1000) != 0) return;
        start();
    }
    ~TestSandbox() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        root_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(base_, ignored);
    }
    TestSandbox(const TestSandbox&) = delete;
    TestSandbox& operator=(const TestSandbox&) = delete;

    bool works() const { return static_cast<bool>(root_); }
    int root() const { return root_.get(); }
    /// On the host: the volume's directory is "/volume".
    std::string host(const std::string& path) const { return base_ + path; }

    /// A file of the sandbox's user.
    void write(const std::string& path, const std::string& text) const {
        std::ofstream(base_ + path) << text;
        if (::chown((base_ + path).c_str(), 1000, 1000) != 0) return;
    }

    static agent::Manifest manifest() {
        agent::Manifest manifest;
        manifest.volumes.push_back({.name = "workspace", .mount_point = "/workspace"});
        manifest.security.filesystem.read = {"/workspace"};
        manifest.security.filesystem.write = {"/workspace/output"};
        return manifest;
    }

  private:
    void start() {
        int ready[2];
        if (::pipe2(ready, O_CLOEXEC) != 0) return;
        os::Fd reader(ready[0]), writer(ready[1]);
        pid_ = ::fork();
        if (pid_ == 0) {
            char ok = live() ? 1 : 0;
            if (::write(writer.get(), &ok, 1) == 1)
                while (true)
                    ::pause();
            ::_exit(1);
        }
        char ok = 0;
        if (::read(reader.get(), &ok, 1) != 1 || ok != 1) return;
        auto path = "/proc/" + std::to_string(pid_) + "/root";
        root_.reset(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    }
    bool bind(const std::string& from, const std::string& to, unsigned long flags) const {
        return ::mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) == 0 &&
               (flags == 0 ||
                ::mount(nullptr, to.c_str(), nullptr, MS_REMOUNT | MS_BIND | flags, nullptr) == 0);
    }
    /// In the child.
    bool live() const {
        auto image = base_ + "/image";
        return ::unshare(CLONE_NEWNS) == 0 &&
               ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               bind(image, image, MS_RDONLY) &&
               bind(base_ + "/volume", image + "/workspace", MS_RDONLY) &&
               bind(base_ + "/volume/output", image + "/workspace/output", 0) &&
               bind(base_ + "/aegis", image + "/aegis", MS_RDONLY) &&
               ::mount("tmpfs", (image + "/tmp").c_str(), "tmpfs", 0, "size=1m,mode=1777") == 0 &&
               ::mount("proc", (image + "/proc").c_str(), "proc", 0, nullptr) == 0 &&
               ::chroot(image.c_str()) == 0 && ::chdir("/") == 0;
    }

    std::string base_;
    pid_t pid_ = -1;
    os::Fd root_;
};

}  // namespace aegis::tools
