#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "os/mount.h"
#include "os/resolve.h"
#include "tools/fs/request.h"
#include "tools/fs/walk.h"

namespace aegis::tools {
namespace {

constexpr int kMaxDeleteDepth = 128;

std::string_view typeOf(mode_t mode) {
    if (S_ISREG(mode)) return "file";
    if (S_ISDIR(mode)) return "directory";
    if (S_ISLNK(mode)) return "link";
    return "other";
}

Error notEmpty() {
    return {ErrorCode::kConflict,
            "the directory is not empty; set recursive to delete what it holds"};
}

Status removeOne(int dir, const std::string& name, int flags) {
    if (::unlinkat(dir, name.c_str(), flags) == 0 || errno == ENOENT) return {};
    if (errno == ENOTEMPTY || errno == EEXIST) return notEmpty();
    if (errno == EBUSY) return {ErrorCode::kConflict, "is a mount point"};
    return fsError(errno, "write");
}

Status removeBelow(int dir, const std::string& name, std::uint64_t mount, int depth,
                   Deadline deadline);

Status removeContent(int fd, std::uint64_t mount, int depth, Deadline deadline) {
    // The directory is read anew after each batch: deleting while reading may skip entries.
    while (true) {
        int copy = ::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (copy < 0) return fsError(errno, "write");
        std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(copy), &::closedir);
        std::vector<std::string> names;
        while (dirent* entry = ::readdir(dir.get())) {
            if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0)
                continue;
            names.emplace_back(entry->d_name);
            if (names.size() >= 4096) break;
        }
        if (names.empty()) return {};
        for (const auto& name : names)
            AEGIS_CHECK(removeBelow(fd, name, mount, depth, deadline));
    }
}

/// Each step goes through the descriptor of the directory above and follows no link, so a guest
/// that moves things about only changes which of its own files go.
Status removeBelow(int dir, const std::string& name, std::uint64_t mount, int depth,
                   Deadline deadline) {
    AEGIS_CHECK(checkTime(deadline));
    if (depth > kMaxDeleteDepth)
        return {ErrorCode::kTooLarge, fmt::format("is nested deeper than {}", kMaxDeleteDepth)};
    struct stat st{};
    if (::fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? Status{} : Status{fsError(errno, "write")};
    if (!S_ISDIR(st.st_mode)) return removeOne(dir, name, 0);
    auto child = os::openChild(dir, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    if (!child) return child.error();
    AEGIS_TRY(auto id, os::mountIdOf(child->get()));
    if (id != mount) return {ErrorCode::kConflict, "holds a mount point"};
    AEGIS_CHECK(removeContent(child->get(), mount, depth + 1, deadline));
    return removeOne(dir, name, AT_REMOVEDIR);
}

}  // namespace

FsAnswer listDirectory(const SandboxView& view, const FsRequest& request, Deadline deadline) {
    AEGIS_TRY(Found found, view.find(request.path));
    AEGIS_TRY(os::Fd dir, openDirectory(found));
    json::Array entries;
    bool truncated = false;
    AEGIS_CHECK(walk(view, dir, request.recursive, deadline, [&](const Entry& entry) {
        if (entries.size() >= kMaxListEntries) {
            truncated = true;
            return false;
        }
        json::Object item{{"name", json::toUtf8(entry.relative)},
                          {"type", typeOf(entry.stat.st_mode)}};
        if (S_ISREG(entry.stat.st_mode)) item["size"] = entry.stat.st_size;
        entries.emplace_back(std::move(item));
        return true;
    }));
    return json::dump(json::Object{{"entries", std::move(entries)}, {"truncated", truncated}});
}

FsAnswer createDirectory(const SandboxView& view, const FsRequest& request, Deadline) {
    if (auto there = view.find(request.path)) {
        if (!S_ISDIR(there->stat.st_mode))
            return {ErrorCode::kConflict, "exists and is not a directory"};
        return fmt::format("{} exists already", request.path);
    }
    if (request.recursive) {
        AEGIS_CHECK(view.makeDirs(request.path));
        return fmt::format("created {}", request.path);
    }
    AEGIS_TRY(Target target, view.target(request.path, false, true));
    if (::mkdirat(target.parent.get(), target.name.c_str(), 0755) != 0)
        return fsError(errno, "write");
    return fmt::format("created {}", request.path);
}

FsAnswer deletePath(const SandboxView& view, const FsRequest& request, Deadline deadline) {
    // A mount point's own name is in a directory that may not be writable: say what it is first.
    if (request.path == "/") return notAllowed("write");
    AEGIS_TRY(Target target, view.target(request.path, false, true));
    if (!target.exists) return fsError(ENOENT, "write");
    AEGIS_TRY(auto mount, os::mountIdOf(target.parent.get()));
    AEGIS_TRY(auto own, os::mountIdAt(target.parent.get(), target.name.c_str()));
    if (own != mount) return {ErrorCode::kConflict, "is a mount point"};
    if (!S_ISDIR(target.stat.st_mode))
        AEGIS_CHECK(removeOne(target.parent.get(), target.name, 0));
    else if (request.recursive)
        AEGIS_CHECK(removeBelow(target.parent.get(), target.name, mount, 0, deadline));
    else
        AEGIS_CHECK(removeOne(target.parent.get(), target.name, AT_REMOVEDIR));
    return fmt::format("deleted {}", request.path);
}

}  // namespace aegis::tools
