#include "volume/image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "os/directory.h"
#include "os/files.h"
#include "os/mount.h"
#include "os/run_program.h"
#include "os/sparse_copy.h"
#include "volume/attachment.h"

namespace aegis::volume {
namespace {

constexpr std::uint64_t kBlockBytes = 4096;
constexpr std::uint64_t kMiB = 1ULL << 20;
/// The kernel sets aside 2 %, at most this many blocks, for delayed allocation
/// (ext4_calculate_resv).
constexpr std::uint64_t kMaxReservedBlocks = 4096;
/// mkfs.ext4 makes no journal in fewer than 2,048 blocks.
constexpr std::uint64_t kMinJournaledBytes = 2048 * kBlockBytes;
constexpr int kSizeTries = 8;
constexpr std::string_view kTemporary = ".tmp";

std::uint64_t roundUp(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

struct Geometry {
    std::uint64_t blocks = 0;
    std::uint64_t free_blocks = 0;
};

/// From the primary superblock (linux: Documentation/filesystems/ext4/super.rst).
Result<Geometry> readGeometry(const std::string& image) {
    AEGIS_TRY(os::Fd fd, os::openFile(image, O_RDONLY));
    std::array<unsigned char, 1024> block{};
    if (::pread(fd.get(), block.data(), block.size(), 1024) != static_cast<ssize_t>(block.size()))
        return errnoError(EIO, image);
    auto u32 = [&](std::size_t at) {
        return std::uint64_t{block[at]} | std::uint64_t{block[at + 1]} << 8 |
               std::uint64_t{block[at + 2]} << 16 | std::uint64_t{block[at + 3]} << 24;
    };
    if (block[0x38] != 0x53 || block[0x39] != 0xEF)
        return {ErrorCode::kInternal, image + ": mkfs.ext4 made no ext4"};
    return Geometry{.blocks = u32(0x4) | u32(0x150) << 32,
                    .free_blocks = u32(0xC) | u32(0x158) << 32};
}

Status makeFileSystem(const std::string& image, std::uint64_t bytes, std::uint64_t limit_bytes,
                      Deadline deadline) {
    AEGIS_TRY(auto mkfs, os::findProgram("mkfs.ext4"));
    AEGIS_TRY(os::Fd fd, os::openFile(image, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return errnoError(errno, image);
    fd.reset();
    auto journal_mib = std::clamp<std::uint64_t>(limit_bytes / (32 * kMiB), 4, 32);
    auto inodes = std::max<std::uint64_t>(1024, limit_bytes / 8192);
    // A fresh sparse file reads as zeros, so neither the journal nor the inode tables need zeroing,
    // which would make every copy carry them.
    std::vector<std::string> command{
        mkfs,
        "-q",
        "-F",
        "-b",
        fmt::to_string(kBlockBytes),
        "-m",
        "0",
        "-N",
        fmt::to_string(inodes),
        "-E",
        "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=1000:1000",
        "-O"};
    if (bytes < kMinJournaledBytes)
        command.insert(command.end(), {"^resize_inode,^has_journal", image});
    else
        command.insert(command.end(),
                       {"^resize_inode", "-J", fmt::format("size={}", journal_mib), image});
    return os::runProgram(std::move(command), deadline);
}

/// Blocks that a process without privileges can fill.
Result<std::uint64_t> usableBlocks(const std::string& image) {
    AEGIS_TRY(Geometry made, readGeometry(image));
    auto reserved = std::min(made.blocks / 50, kMaxReservedBlocks);
    return made.free_blocks - std::min(reserved, made.free_blocks);
}

/// Fits the file system to `limit_bytes` and the metadata of files that hold them: never less, and
/// at most 1/64 more. What mkfs keeps for itself grows in steps (block groups, inode tables), so
/// the size is approached by making it and looking.
Status makeSized(const std::string& image, std::uint64_t limit_bytes, Deadline deadline) {
    std::uint64_t want = limit_bytes / kBlockBytes + limit_bytes / kBlockBytes / 512 + 16;
    std::uint64_t blocks = roundUp(limit_bytes + limit_bytes / 16 + 8 * kMiB, kMiB) / kBlockBytes;
    std::uint64_t enough = 0;  // the fewest blocks known to be enough
    for (int attempt = 0; attempt < kSizeTries; ++attempt) {
        AEGIS_CHECK(makeFileSystem(image, blocks * kBlockBytes, limit_bytes, deadline));
        AEGIS_TRY(auto usable, usableBlocks(image));
        if (usable >= want && usable - want <= std::max<std::uint64_t>(64, want / 64)) return {};
        if (usable < want) {
            blocks += (want - usable) * 50 / 49 + 8;
            continue;
        }
        enough = enough == 0 ? blocks : std::min(enough, blocks);
        blocks -= std::min((usable - want) * 50 / 49, blocks / 2);
    }
    if (enough == 0)
        return {ErrorCode::kInternal, image + ": no fitting file system size was found"};
    return makeFileSystem(image, enough * kBlockBytes, limit_bytes, deadline);
}

/// lost+found is for fsck; a volume starts empty.
Status removeLostFound(const Layout& layout, const std::string& image) {
    auto target = layout.templateMount();
    AEGIS_CHECK(mountImage(image, target));
    auto path = target + "/lost+found";
    Status removed;
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT) removed = errnoError(errno, path);
    AEGIS_CHECK(unmountImage(target, Deadline::never()));
    return removed;
}

Status syncPath(const std::string& path, int flags) {
    AEGIS_TRY(os::Fd fd, os::openFile(path, flags));
    if (::fsync(fd.get()) != 0) return errnoError(errno, path);
    return {};
}

/// What a daemon left that was killed while it made a template: its mount, and its file. A mkfs of
/// it may still be writing; whoever makes the template anew writes to a file of another name.
Status removeUnfinishedTemplates(const Layout& layout) {
    constexpr std::size_t kMost = 100'000;
    AEGIS_TRY(bool mounted, os::isMountPoint(layout.templateMount()));
    if (mounted) AEGIS_CHECK(os::detachMount(layout.templateMount()));
    AEGIS_TRY(os::Fd dir, os::openFile(layout.templates(), O_RDONLY | O_DIRECTORY));
    AEGIS_TRY(auto entries, os::listDirectory(dir.get(), kMost));
    for (const auto& entry : entries)
        if (entry.name.ends_with(kTemporary)) ::unlinkat(dir.get(), entry.name.c_str(), 0);
    return {};
}

}  // namespace

Status makeLayout(const Layout& layout) {
    AEGIS_CHECK(os::makeDirs(layout.dir));
    for (const auto& path :
         {layout.templates(), layout.templateMount(), layout.images(), layout.mounts()})
        AEGIS_CHECK(os::makeDirs(path));
    return removeUnfinishedTemplates(layout);
}

Result<std::string> ensureTemplate(const Layout& layout, std::uint64_t limit_bytes,
                                   Deadline deadline) {
    auto size = roundUp(std::max(limit_bytes, kMinVolumeBytes), kMiB);
    auto path = fmt::format("{}/ext4-2-{}M.img", layout.templates(), size / kMiB);
    if (::access(path.c_str(), F_OK) == 0) return path;
    auto temporary = fmt::format("{}.{}{}", path, ::getpid(), kTemporary);
    auto made = [&]() -> Status {
        AEGIS_CHECK(makeSized(temporary, size, deadline));
        AEGIS_CHECK(removeLostFound(layout, temporary));
        AEGIS_CHECK(syncPath(temporary, O_RDONLY));
        if (::rename(temporary.c_str(), path.c_str()) != 0) return errnoError(errno, path);
        return {};
    }();
    if (made) return path;
    ::unlink(temporary.c_str());
    return std::move(made.error()).within("making a volume template");
}

Status createImage(const Layout& layout, const std::string& template_path, const VolumeId& id,
                   bool durable) {
    auto temporary = layout.image(id) + ".tmp";
    ::unlink(temporary.c_str());
    AEGIS_CHECK(os::copySparse(template_path, temporary, 0600));
    return adoptImage(layout, temporary, id, durable);
}

Status adoptImage(const Layout& layout, const std::string& path, const VolumeId& id, bool durable) {
    auto image = layout.image(id);
    auto finished = [&]() -> Status {
        if (durable) AEGIS_CHECK(syncPath(path, O_RDONLY));
        if (::rename(path.c_str(), image.c_str()) != 0) return errnoError(errno, image);
        return durable ? syncPath(layout.images(), O_RDONLY | O_DIRECTORY) : Status{};
    }();
    if (!finished) ::unlink(path.c_str());
    return finished;
}

Status deleteImage(const Layout& layout, const VolumeId& id) {
    auto path = layout.image(id);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return errnoError(errno, path);
    return {};
}

}  // namespace aegis::volume
