#include "os/loop.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "os/files.h"

namespace aegis::os {
namespace {

constexpr unsigned kLoopMajor = 7;
constexpr unsigned kLoopBlockBytes = 4096;
constexpr int kAttachTries = 64;

Result<Fd> openDevice(int number) {
    auto path = fmt::format("/dev/loop{}", number);
    auto fd = openFile(path, O_RDWR);
    if (fd || fd.error().code != ErrorCode::kNotFound) return fd;
    // A container's /dev has no udev to make the node of a device the kernel has just added.
    if (::mknod(path.c_str(), S_IFBLK | 0600, makedev(kLoopMajor, static_cast<unsigned>(number))) !=
            0 &&
        errno != EEXIST)
        return errnoError(errno, path);
    return openFile(path, O_RDWR);
}

Result<int> freeNumber() {
    AEGIS_TRY(Fd control, openFile("/dev/loop-control", O_RDWR));
    int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return errnoError(errno, "/dev/loop-control");
    return number;
}

bool backedBy(int loop_fd, const struct stat& image) {
    loop_info64 info{};
    // lo_device is in the kernel's "huge" encoding, which is what st_dev is too.
    return ::ioctl(loop_fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_inode == image.st_ino &&
           info.lo_device == image.st_dev;
}

}  // namespace

Result<LoopDevice> attachLoop(const std::string& image) {
    AEGIS_TRY(Fd backing, openFile(image, O_RDWR | O_NOFOLLOW));
    loop_config config{};
    config.fd = static_cast<unsigned>(backing.get());
    config.block_size = kLoopBlockBytes;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    std::strncpy(reinterpret_cast<char*>(config.info.lo_file_name), image.c_str(),
                 sizeof config.info.lo_file_name - 1);
    int last = EBUSY;
    for (int attempt = 0; attempt < kAttachTries; ++attempt) {
        AEGIS_TRY(int number, freeNumber());
        AEGIS_TRY(Fd fd, openDevice(number));
        if (::ioctl(fd.get(), LOOP_CONFIGURE, &config) == 0)
            return LoopDevice{std::move(fd), fmt::format("/dev/loop{}", number)};
        last = errno;
        // Another process may have taken the free one between the two calls.
        if (last != EBUSY && last != ENXIO && last != EAGAIN) break;
    }
    return std::move(errnoError(last, "attaching a loop device")).within(image);
}

Result<std::optional<LoopDevice>> findLoop(const std::string& image) {
    struct stat st{};
    if (::stat(image.c_str(), &st) != 0) return errnoError(errno, image);
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/sys/block"), &::closedir);
    if (!dir) return errnoError(errno, "/sys/block");
    while (dirent* entry = ::readdir(dir.get())) {
        if (std::strncmp(entry->d_name, "loop", 4) != 0) continue;
        // Only a device that has a backing file has this directory; the rest need not be opened.
        auto bound = fmt::format("/sys/block/{}/loop", entry->d_name);
        if (::access(bound.c_str(), F_OK) != 0) continue;
        auto path = fmt::format("/dev/{}", entry->d_name);
        auto fd = openFile(path, O_RDWR);
        if (fd && backedBy(fd->get(), st)) return LoopDevice{std::move(*fd), path};
    }
    return std::nullopt;
}

Status loopAvailable() {
    auto number = freeNumber();
    if (!number) {
        Error error = number.error();
        error.hint = error.code == ErrorCode::kNotFound
                         ? "load the kernel's loop module (modprobe loop), or give the container "
                           "that runs the daemon /dev/loop-control"
                         : "run the daemon as root, with CAP_SYS_ADMIN";
        return error;
    }
    return {};
}

}  // namespace aegis::os
