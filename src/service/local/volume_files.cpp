// What is in a volume, read from outside. Guests wrote it: nothing is followed, nothing special
// opened.

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "os/directory.h"
#include "os/resolve.h"
#include "service/local/local_service.h"
#include "text/escape.h"

namespace aegis::service {
namespace {

constexpr std::size_t kMostEntries = 200'000;
constexpr std::size_t kPageEntries = 1000;
constexpr std::size_t kPiece = 256 << 10;

std::string_view typeName(os::DirectoryEntry::Kind kind) {
    switch (kind) {
        case os::DirectoryEntry::Kind::kFile:
            return "file";
        case os::DirectoryEntry::Kind::kDirectory:
            return "directory";
        case os::DirectoryEntry::Kind::kLink:
            return "symlink";
        case os::DirectoryEntry::Kind::kOther:
            return "other";
    }
    return "other";
}

/// "a/b" of "/a//b/", "" of "/".
std::string cleaned(std::string_view path) {
    std::string out;
    while (!path.empty()) {
        auto part = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), part.size() + 1));
        if (part.empty() || part == ".") continue;
        if (!out.empty()) out += '/';
        out += part;
    }
    return out;
}

struct Opened {
    os::Fd fd;  ///< O_PATH
    struct stat stat{};
};

Result<Opened> openIn(int root, const std::string& path) {
    auto name = json::toUtf8("/" + path);
    if (path.find('\0') != std::string::npos)
        return {ErrorCode::kInvalid, "the path holds a NUL byte"};
    auto fd = os::openInRoot(root, path.empty() ? "." : path, O_PATH,
                             RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (!fd) {
        auto error = std::move(fd.error()).within(name);
        // The rest of what can happen is about the path that was given.
        if (error.code == ErrorCode::kIo) error.code = ErrorCode::kInvalid;
        if (error.code == ErrorCode::kInvalid) error.hint = "symbolic links are not followed";
        return error;
    }
    Opened opened;
    opened.fd = std::move(*fd);
    if (::fstat(opened.fd.get(), &opened.stat) != 0) return errnoError(errno, name);
    return opened;
}

json::Object entryRecord(const os::DirectoryEntry& entry) {
    json::Object out{{"name", json::toUtf8(entry.name)},
                     {"type", typeName(entry.kind)},
                     {"size", entry.size},
                     {"modified_at", entry.modified.rfc3339()}};
    if (entry.kind == os::DirectoryEntry::Kind::kLink) out["target"] = json::toUtf8(entry.target);
    return out;
}

json::Object listing(const std::string& path, const std::vector<os::DirectoryEntry>& all,
                     const std::string& after) {
    auto from = std::ranges::upper_bound(all, after, {}, &os::DirectoryEntry::name);
    if (after.empty()) from = all.begin();
    json::Array items;
    for (; from != all.end() && items.size() < kPageEntries; ++from)
        items.push_back(entryRecord(*from));
    json::Value next(nullptr);
    if (from != all.end()) next = json::Value(json::toUtf8(std::prev(from)->name));
    auto count = items.size();
    return {{"path", json::toUtf8("/" + path)},
            {"type", "directory"},
            {"items", std::move(items)},
            {"count", count},
            {"next_after", std::move(next)}};
}

Status sendFile(const Opened& file, const DownloadSink& sink) {
    AEGIS_TRY(os::Fd fd, os::reopen(file.fd.get(), O_RDONLY | O_NONBLOCK | O_NOCTTY));
    std::string piece(kPiece, '\0');
    // No more than there was: a file that grows as it is read would never end.
    auto left = static_cast<std::uint64_t>(file.stat.st_size);
    while (left > 0) {
        auto n = ::read(fd.get(), piece.data(), std::min<std::uint64_t>(left, piece.size()));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errnoError(errno, "read");
        if (n == 0) return {ErrorCode::kIo, "the file became shorter while it was read"};
        if (!sink.piece(std::string_view(piece).substr(0, static_cast<std::size_t>(n))))
            return {ErrorCode::kCancelled, "nobody takes it any more"};
        left -= static_cast<std::uint64_t>(n);
    }
    return {};
}

}  // namespace

Result<json::Value> LocalService::volumeFiles(const Principal&, const std::string& volume,
                                              const std::string& path, const std::string& after) {
    AEGIS_TRY(auto record, resolveVolume(volume));
    AEGIS_TRY(auto view, p_.volumes.view(record.id));
    auto where = cleaned(path);
    AEGIS_TRY(auto opened, openIn(view->root(), where));
    if (S_ISDIR(opened.stat.st_mode)) {
        AEGIS_TRY(auto all, os::listDirectory(opened.fd.get(), kMostEntries));
        return json::Value(listing(where, all, after));
    }
    bool regular = S_ISREG(opened.stat.st_mode);
    return json::Value(
        json::Object{{"path", json::toUtf8("/" + where)},
                     {"type", regular ? "file" : "other"},
                     {"size", regular ? static_cast<std::uint64_t>(opened.stat.st_size) : 0},
                     {"modified_at", UtcTime{opened.stat.st_mtim.tv_sec * 1000}.rfc3339()}});
}

Status LocalService::readVolumeFile(const Principal&, const std::string& volume,
                                    const std::string& path, const DownloadSink& sink) {
    AEGIS_TRY(auto record, resolveVolume(volume));
    AEGIS_TRY(auto view, p_.volumes.view(record.id));
    auto where = cleaned(path);
    AEGIS_TRY(auto opened, openIn(view->root(), where));
    if (!S_ISREG(opened.stat.st_mode))
        return {ErrorCode::kInvalid,
                fmt::format("/{}: is {}", json::toUtf8(where),
                            S_ISDIR(opened.stat.st_mode) ? "a directory" : "no regular file")};
    // A guest can give a file any length without filling it; whoever copies it would.
    if (static_cast<std::uint64_t>(opened.stat.st_size) > record.size_limit_bytes)
        return {ErrorCode::kTooLarge,
                fmt::format("/{}: has {} bytes, more than its volume can hold", json::toUtf8(where),
                            opened.stat.st_size)};
    auto slash = where.find_last_of('/');
    auto name = slash == std::string::npos ? where : where.substr(slash + 1);
    if (!sink.begin({json::toUtf8(name), static_cast<std::uint64_t>(opened.stat.st_size)}))
        return {ErrorCode::kCancelled, "nobody takes it any more"};
    return sendFile(opened, sink);
}

}  // namespace aegis::service
