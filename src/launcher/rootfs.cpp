#include "launcher/rootfs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <initializer_list>
#include <string_view>

#include "launcher/namespaces.h"
#include "os/files.h"
#include "os/mount_tree.h"

namespace aegis::launcher {
namespace {

using proto::launch::Mount;

constexpr std::uint64_t kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr std::uint64_t kSharedMemoryBytes = 4 << 20;
// Of the few thousand that all of the host's sandboxes share.
constexpr int kTerminals = 32;
// An empty directory to build in: the launcher's, and a template's.
constexpr const char* kScratch = "/scratch";
constexpr const char* kTemplateScratch = "/aegis/scratch";
constexpr const char* kEmpty = "empty";  // of which copies are mounted; nothing is ever put there
// In a template's: what all its sandboxes have over the image, and where one puts what it has more.
constexpr const char* kCommon = "common";
constexpr const char* kOwn = "own";

struct Device {
    const char* name;
    unsigned major, minor;
};
constexpr std::array<Device, 6> kDevices = {{{"null", 1, 3},
                                             {"zero", 1, 5},
                                             {"full", 1, 7},
                                             {"random", 1, 8},
                                             {"urandom", 1, 9},
                                             {"tty", 5, 0}}};
constexpr std::array<std::array<const char*, 2>, 5> kDeviceLinks = {{{"/proc/self/fd", "fd"},
                                                                     {"/proc/self/fd/0", "stdin"},
                                                                     {"/proc/self/fd/1", "stdout"},
                                                                     {"/proc/self/fd/2", "stderr"},
                                                                     {"pts/ptmx", "ptmx"}}};

// What Docker masks; of no use to a guest, and of the host.
constexpr std::array kMaskedFiles = {"kcore",         "keys",        "latency_stats",
                                     "timer_list",    "timer_stats", "sched_debug",
                                     "sysrq-trigger", "kmsg",        "interrupts"};
constexpr std::array kMaskedDirs = {"acpi", "asound", "scsi", "bus", "fs", "irq"};

Status makeDir(int dir_fd, const char* name, unsigned mode = 0755) {
    if (::mkdirat(dir_fd, name, mode) != 0 && errno != EEXIST) return errnoError(errno, name);
    return {};
}

Result<os::Fd> openDir(int dir_fd, const char* path) {
    os::Fd fd(::openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return errnoError(errno, path);
    return fd;
}

Status makeDevice(int dev, const Device& device) {
    if (::mknodat(dev, device.name, S_IFCHR | 0666, makedev(device.major, device.minor)) != 0 ||
        ::fchmodat(dev, device.name, 0666, 0) != 0 ||
        ::fchownat(dev, device.name, kImageIdBase, kImageIdBase, 0) != 0)
        return errnoError(errno, fmt::format("/dev/{}", device.name));
    return {};
}

/// The host's own: in an ordinary user's namespace no device can be made.
Status bindDevice(int dev, const Device& device) {
    AEGIS_TRY(const os::Fd node,
              os::cloneTreeAt(AT_FDCWD, fmt::format("/dev/{}", device.name).c_str(),
                              MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
    struct stat st{};
    if (::fstat(node.get(), &st) != 0 || !S_ISCHR(st.st_mode) ||
        st.st_rdev != makedev(device.major, device.minor))
        return {ErrorCode::kUnsupported, fmt::format("/dev/{}: is another device", device.name)};
    const os::Fd place(
        ::openat(dev, device.name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!place) return errnoError(errno, fmt::format("/dev/{}", device.name));
    return os::attachTreeAt(node.get(), dev, device.name);
}

/// The devices a guest may use, on a file system of the host's own user namespace: only there are
/// devices honoured.
Status fillDevices(int dev) {
    for (const auto& device : kDevices) {
        auto made = makeDevice(dev, device);
        if (!made && made.error().code == ErrorCode::kPermissionDenied)
            made = bindDevice(dev, device);
        AEGIS_CHECK(std::move(made));
    }
    for (const auto& [target, name] : kDeviceLinks)
        if (::symlinkat(target, dev, name) != 0) return errnoError(errno, name);
    AEGIS_CHECK(makeDir(dev, "pts"));
    return makeDir(dev, "shm");
}

/// Beneath `root`, never through a link: nothing there is the caller's own.
Result<os::Fd> openPlace(int root, const std::string& path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    os::Fd fd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
    if (!fd) return errnoError(errno, path);
    return fd;
}

Status attachAt(const os::Fd& tree, int root, const std::string& path) {
    AEGIS_TRY(const os::Fd place, openPlace(root, path));
    return os::attachTree(tree.get(), place.get(), path);
}

bool isBelow(std::string_view path, std::string_view parent) {
    return path.starts_with(parent) && (path.size() == parent.size() || path[parent.size()] == '/');
}

/// Makes the directories to `path` below `dir_fd` and, at its end, a directory or an empty file.
Status makePlace(int dir_fd, std::string_view path, bool directory) {
    os::Fd here(::fcntl(dir_fd, F_DUPFD_CLOEXEC, 0));
    while (true) {
        const auto slash = path.find('/', 1);
        const std::string name(path.substr(1, slash == path.npos ? path.npos : slash - 1));
        const bool last = slash == path.npos;
        if (last && !directory) {
            const os::Fd file(::openat(here.get(), name.c_str(),
                                       O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
            return file ? Status{} : Status{errnoError(errno, name)};
        }
        AEGIS_CHECK(makeDir(here.get(), name.c_str()));
        if (last) return {};
        AEGIS_TRY(here, openDir(here.get(), name.c_str()));
        path.remove_prefix(slash);
    }
}

Status writeText(int dir_fd, const char* name, std::string_view text) {
    const os::Fd file(::openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (!file) return errnoError(errno, name);
    return os::writeAll(file.get(), text);
}

/// The overlay's upper half, the same for all.
Status fillSkeleton(int skeleton) {
    for (const char* name : {"proc", "sys", "dev", "tmp", "aegis", "aegis/bin", "aegis/run", "etc"})
        AEGIS_CHECK(makeDir(skeleton, name));
    AEGIS_TRY(const os::Fd etc, openDir(skeleton, "etc"));
    AEGIS_CHECK(writeText(etc.get(), "hosts", "127.0.0.1\tlocalhost aegis\n::1\tlocalhost\n"));
    AEGIS_CHECK(writeText(etc.get(), "hostname", "aegis\n"));
    return writeText(etc.get(), "resolv.conf", "");
}

/// Where its own mounts go.
Status fillPlaces(int skeleton, const RootPlan& plan) {
    for (std::size_t i = 0; i < plan.mounts.size(); ++i) {
        const auto& mount = plan.mounts[i];
        bool covered = false;
        for (std::size_t k = 0; k < i && !covered; ++k)
            covered = isBelow(mount.target, plan.mounts[k].target);
        // One below another's is a place in that volume.
        if (!covered) AEGIS_CHECK(makePlace(skeleton, mount.target, mount.directory));
    }
    return {};
}

Status maskProc(int root, int scratch) {
    AEGIS_TRY(const os::Fd proc, openDir(root, "proc"));
    AEGIS_TRY(const os::Fd dev, openDir(root, "dev"));
    for (const char* name : kMaskedFiles) {
        if (::faccessat(proc.get(), name, F_OK, AT_SYMLINK_NOFOLLOW) != 0) continue;
        AEGIS_TRY(const os::Fd null, os::cloneTreeAt(dev.get(), "null", 0));
        AEGIS_CHECK(os::attachTreeAt(null.get(), proc.get(), name));
    }
    for (const char* name : kMaskedDirs) {
        if (::faccessat(proc.get(), name, F_OK, AT_SYMLINK_NOFOLLOW) != 0) continue;
        // A file system for each would cost ten times that, and as much again when it goes.
        AEGIS_TRY(const os::Fd empty,
                  os::cloneTreeAt(scratch, kEmpty, MOUNT_ATTR_RDONLY | kSafe | MOUNT_ATTR_NOEXEC));
        AEGIS_CHECK(os::attachTreeAt(empty.get(), proc.get(), name));
    }
    return {};
}

Status mountKernelViews(int root, int scratch) {
    AEGIS_TRY(const os::Fd dev, os::cloneWholeTree("/dev"));
    AEGIS_CHECK(attachAt(dev, root, "/dev"));
    AEGIS_TRY(const os::Fd pts, os::newFileSystem("devpts",
                                                  {{"newinstance", ""},
                                                   {"ptmxmode", "0666"},
                                                   {"mode", "0620"},
                                                   {"gid", "5"},
                                                   {"max", fmt::format("{}", kTerminals)}},
                                                  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
    AEGIS_CHECK(attachAt(pts, root, "/dev/pts"));
    AEGIS_TRY(const os::Fd shm,
              os::newFileSystem("tmpfs",
                                {{"size", fmt::format("{}", kSharedMemoryBytes)}, {"mode", "1777"}},
                                kSafe | MOUNT_ATTR_NOEXEC));
    AEGIS_CHECK(attachAt(shm, root, "/dev/shm"));
    AEGIS_TRY(const os::Fd proc, os::newFileSystem("proc", {}, kSafe | MOUNT_ATTR_NOEXEC));
    AEGIS_CHECK(attachAt(proc, root, "/proc"));
    return maskProc(root, scratch);
}

Status attachAll(int root, const std::vector<Mount>& mounts, const std::vector<os::Fd>& trees) {
    for (std::size_t i = 0; i < trees.size(); ++i)
        AEGIS_CHECK(attachAt(trees[i], root, mounts[i].target));
    return {};
}

Status mountGuestPlaces(int root, const RootPlan& plan) {
    AEGIS_CHECK(attachAt(plan.bin, root, "/aegis/bin"));
    AEGIS_CHECK(attachAt(plan.run, root, "/aegis/run"));
    if (plan.tmp_bytes > 0) {
        AEGIS_TRY(
            const os::Fd tmp,
            os::newFileSystem(
                "tmpfs", {{"size", fmt::format("{}", plan.tmp_bytes)}, {"mode", "1777"}}, kSafe));
        AEGIS_CHECK(attachAt(tmp, root, "/tmp"));
    }
    return attachAll(root, plan.mounts, plan.mount_trees);
}

}  // namespace

Status home() {
    if (::unshare(CLONE_NEWNS) != 0) return errnoError(errno, "mount namespace");
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        return errnoError(errno, "private mounts");
    AEGIS_TRY(const os::Fd proc, os::cloneWholeTree("/proc"));
    AEGIS_TRY(const os::Fd root, os::newFileSystem("tmpfs", {{"size", "64k"}, {"mode", "0755"}},
                                                   kSafe | MOUNT_ATTR_NOEXEC));
    // Any directory will do; this one is always there, and its own content is kept by `proc`.
    AEGIS_CHECK(os::attachTreeAt(root.get(), AT_FDCWD, "/proc"));
    for (const char* name : {"proc", "dev", "scratch"})
        AEGIS_CHECK(makeDir(root.get(), name));
    AEGIS_CHECK(os::attachTreeAt(proc.get(), root.get(), "proc"));
    AEGIS_TRY(const os::Fd dev, os::newFileSystem("tmpfs", {{"size", "64k"}, {"mode", "0755"}},
                                                  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
    AEGIS_CHECK(os::attachTreeAt(dev.get(), root.get(), "dev"));
    AEGIS_CHECK(fillDevices(dev.get()));
    mount_attr read_only{};
    read_only.attr_set = MOUNT_ATTR_RDONLY;
    if (::mount_setattr(dev.get(), "", AT_EMPTY_PATH, &read_only, sizeof read_only) != 0)
        return errnoError(errno, "/dev");
    return os::pivotTo(root.get());
}

namespace {

Result<os::Fd> newScratch(const char* where, std::initializer_list<const char*> names) {
    AEGIS_TRY(os::Fd scratch, os::newFileSystem("tmpfs", {{"size", "1m"}, {"mode", "0755"}},
                                                kSafe | MOUNT_ATTR_NOEXEC));
    AEGIS_CHECK(os::attachTreeAt(scratch.get(), AT_FDCWD, where));
    for (const char* name : names)
        AEGIS_CHECK(makeDir(scratch.get(), name));
    return scratch;
}

/// The image below other layers, detached.
Result<os::Fd> newOverlay(const std::string& layers) {
    return os::newFileSystem("overlay", {{"lowerdir", layers}}, MOUNT_ATTR_RDONLY | kSafe);
}

/// Builds on these layers in `scratch`, and goes there.
Status enterOverlay(const os::Fd& scratch, const std::string& layers, const RootPlan& plan) {
    AEGIS_TRY(const os::Fd overlay, newOverlay(layers));
    AEGIS_CHECK(os::attachTreeAt(overlay.get(), scratch.get(), "root"));
    AEGIS_TRY(const os::Fd root, openDir(scratch.get(), "root"));
    AEGIS_CHECK(mountKernelViews(root.get(), scratch.get()));
    AEGIS_CHECK(mountGuestPlaces(root.get(), plan));
    return os::pivotTo(root.get());
}

}  // namespace

Status enterRoot(RootPlan plan) {
    AEGIS_TRY(const os::Fd scratch, newScratch(kScratch, {"image", "skeleton", "root", kEmpty}));
    AEGIS_CHECK(os::attachTreeAt(plan.image.get(), scratch.get(), "image"));
    AEGIS_TRY(const os::Fd skeleton, openDir(scratch.get(), "skeleton"));
    AEGIS_CHECK(fillSkeleton(skeleton.get()));
    AEGIS_CHECK(fillPlaces(skeleton.get(), plan));
    return enterOverlay(scratch, fmt::format("{0}/skeleton:{0}/image", kScratch), plan);
}

Status enterRootFromTemplate(RootPlan plan) {
    AEGIS_TRY(const os::Fd scratch, openDir(AT_FDCWD, kTemplateScratch));
    AEGIS_TRY(plan.bin, os::cloneTreeAt(AT_FDCWD, "/aegis/bin", MOUNT_ATTR_RDONLY | kSafe));
    auto layers = fmt::format("{0}/{1}:{0}/image", kTemplateScratch, kCommon);
    if (!plan.mounts.empty()) {
        const auto where = fmt::format("{}/{}", kTemplateScratch, kOwn);
        AEGIS_TRY(const os::Fd own, newScratch(where.c_str(), {}));
        AEGIS_CHECK(fillPlaces(own.get(), plan));
        layers = where + ":" + layers;
    }
    return enterOverlay(scratch, layers, plan);
}

Status attachMounts(const std::vector<Mount>& mounts, const std::vector<os::Fd>& trees) {
    AEGIS_TRY(const os::Fd root, openDir(AT_FDCWD, "/"));
    return attachAll(root.get(), mounts, trees);
}

Status enterTemplateRoot(RootPlan plan) {
    AEGIS_TRY(const os::Fd scratch,
              newScratch(kScratch, {"image", "skeleton", "root", kEmpty, kCommon, kOwn}));
    AEGIS_CHECK(os::attachTreeAt(plan.image.get(), scratch.get(), "image"));
    AEGIS_TRY(const os::Fd skeleton, openDir(scratch.get(), "skeleton"));
    for (const char* name : {"proc", "sys", "dev", "tmp", "aegis", "aegis/bin", "aegis/scratch"})
        AEGIS_CHECK(makeDir(skeleton.get(), name));
    AEGIS_TRY(const os::Fd common, openDir(scratch.get(), kCommon));
    AEGIS_CHECK(fillSkeleton(common.get()));
    AEGIS_TRY(const os::Fd overlay, newOverlay(fmt::format("{0}/skeleton:{0}/image", kScratch)));
    AEGIS_TRY(const os::Fd dev, os::cloneWholeTree("/dev"));
    AEGIS_TRY(const os::Fd proc, os::newFileSystem("proc", {}, kSafe | MOUNT_ATTR_NOEXEC));
    // What stems begin with: read-only for them too, as they come to it in a user namespace below.
    AEGIS_TRY(const os::Fd image,
              os::cloneTreeAt(scratch.get(), "image", MOUNT_ATTR_RDONLY | kSafe));
    AEGIS_TRY(
        const os::Fd shared,
        os::cloneTree(scratch.get(), MOUNT_ATTR_RDONLY | kSafe | MOUNT_ATTR_NOEXEC, kScratch));
    // The namespace's root holds /proc; what the template sees covers it.
    AEGIS_TRY(const os::Fd base, os::newFileSystem("tmpfs", {{"size", "64k"}, {"mode", "0755"}},
                                                   kSafe | MOUNT_ATTR_NOEXEC));
    AEGIS_CHECK(os::attachTreeAt(base.get(), scratch.get(), "root"));
    AEGIS_CHECK(makeDir(base.get(), "proc"));
    AEGIS_CHECK(os::attachTreeAt(proc.get(), base.get(), "proc"));
    AEGIS_CHECK(os::pivotTo(base.get()));
    AEGIS_CHECK(os::attachTreeAt(overlay.get(), AT_FDCWD, "/"));
    if (::fchdir(overlay.get()) != 0 || ::chroot(".") != 0) return errnoError(errno, "/");
    AEGIS_CHECK(attachAt(dev, overlay.get(), "/dev"));
    AEGIS_CHECK(attachAt(plan.bin, overlay.get(), "/aegis/bin"));
    AEGIS_CHECK(attachAt(shared, overlay.get(), kTemplateScratch));
    return attachAt(image, overlay.get(), fmt::format("{}/image", kTemplateScratch));
}

}  // namespace aegis::launcher
