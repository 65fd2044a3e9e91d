#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "os/clock.h"
#include "os/resolve.h"
#include "tools/fs/request.h"

namespace aegis::tools {
namespace {

constexpr int kNameTries = 16;

/// Collects the wanted lines of a text that comes in pieces.
class LineWindow {
  public:
    explicit LineWindow(const FsRequest& request)
        : first_(request.offset),
          end_(request.limit == 0
                   ? INT64_MAX
                   : request.offset + std::min<std::int64_t>(request.limit, INT64_MAX / 2)) {}

    /// False when no more is wanted.
    bool take(std::string_view piece) {
        while (!piece.empty() && line_ < end_) {
            auto newline = piece.find('\n');
            auto part =
                piece.substr(0, newline == std::string_view::npos ? piece.size() : newline + 1);
            seen_ = true;
            if (line_ >= first_) {
                auto room = kMaxReadBytes - text_.size();
                text_.append(part.substr(0, room));
                if (part.size() > room) {
                    full_ = true;
                    return false;
                }
            }
            piece.remove_prefix(part.size());
            if (newline != std::string_view::npos) {
                ++line_;
                seen_ = false;
            }
        }
        more_ = !piece.empty();
        return !more_;
    }

    FsAnswer finish() {
        std::int64_t lines = line_ - (seen_ ? 0 : 1);
        if (!full_ && !more_ && first_ > std::max<std::int64_t>(lines, 1))
            return {ErrorCode::kInvalid,
                    fmt::format("offset {} is beyond the last line ({})", first_, lines)};
        if (text_.find('\0') != std::string::npos)
            return {ErrorCode::kInvalid, "is a binary file; fs.read reads text"};
        cutAtLine();
        auto text = json::toUtf8(text_);
        if (full_ && line_ == first_)
            text += fmt::format("\n[line {} is longer than {} bytes and was cut here]", line_,
                                kMaxReadBytes);
        else if (full_ || more_)
            text += fmt::format("{}[more follows: read on with offset {}]",
                                text.ends_with('\n') ? "" : "\n", line_);
        return text;
    }

  private:
    /// A full window ends with a whole line, unless the first line alone fills it.
    void cutAtLine() {
        if (!full_ || line_ == first_) return;
        text_.resize(text_.find_last_of('\n') + 1);
    }

    std::int64_t first_, end_;
    std::int64_t line_ = 1;  ///< the one that comes next
    bool seen_ = false;      ///< a part of line_ has come
    bool full_ = false;
    bool more_ = false;
    std::string text_;
};

/// A name that no file of a guest's has by chance.
std::string temporaryName() {
    std::array<std::byte, 8> bytes{};
    os::systemRandom().fill(bytes);
    std::string name = ".aegis-";
    for (auto b : bytes)
        name += fmt::format("{:02x}", static_cast<unsigned>(b));
    return name + ".tmp";
}

Status writeSlowly(int fd, std::string_view bytes, Deadline deadline) {
    constexpr std::size_t kPiece = 256 * 1024;
    while (!bytes.empty()) {
        AEGIS_CHECK(checkTime(deadline));
        ssize_t n = ::write(fd, bytes.data(), std::min(bytes.size(), kPiece));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fsError(errno, "write");
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

/// The kernel decides, with the sandbox user's rights, whether the file that is there may be
/// replaced.
Status checkReplaceable(const Target& target) {
    if (!target.exists) return {};
    if (S_ISDIR(target.stat.st_mode)) return {ErrorCode::kInvalid, "is a directory"};
    if (!S_ISREG(target.stat.st_mode))
        return {ErrorCode::kInvalid, "exists and is not a regular file"};
    AEGIS_TRY(os::Fd path, os::openChild(target.parent.get(), target.name, O_PATH));
    struct stat now{};
    if (::fstat(path.get(), &now) != 0) return fsError(errno, "write");
    if (!S_ISREG(now.st_mode)) return {ErrorCode::kInvalid, "exists and is not a regular file"};
    auto opened = os::reopen(path.get(), O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (opened) return {};
    if (opened.error().code == ErrorCode::kPermissionDenied) return fsError(EACCES, "write");
    return opened.error();
}

/// Whole or not at all: a new file beside it takes its name. It never follows a link, so whatever a
/// guest does to the directory meanwhile stays within that directory.
Status replaceFile(const Target& target, std::string_view bytes, Deadline deadline) {
    AEGIS_CHECK(checkReplaceable(target));
    std::string name;
    os::Fd fd;
    for (int attempt = 0; !fd && attempt < kNameTries; ++attempt) {
        name = temporaryName();
        fd.reset(::openat(target.parent.get(), name.c_str(),
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!fd && errno != EEXIST) return fsError(errno, "write");
    }
    if (!fd) return fsError(EEXIST, "write");
    auto written = writeSlowly(fd.get(), bytes, deadline);
    mode_t mode = target.exists ? target.stat.st_mode & 0777 : 0644;
    if (written && ::fchmod(fd.get(), mode) != 0) written = fsError(errno, "write");
    if (written && ::renameat(target.parent.get(), name.c_str(), target.parent.get(),
                              target.name.c_str()) != 0)
        written = fsError(errno, "write");
    if (!written) ::unlinkat(target.parent.get(), name.c_str(), 0);
    return written;
}

}  // namespace

FsAnswer readText(const SandboxView& view, const FsRequest& request, Deadline deadline) {
    AEGIS_TRY(Found found, view.find(request.path));
    if (S_ISDIR(found.stat.st_mode)) return {ErrorCode::kInvalid, "is a directory; use fs.list"};
    AEGIS_TRY(os::Fd fd, openRegular(found));
    LineWindow window(request);
    std::array<char, 65536> chunk{};
    while (true) {
        AEGIS_TRY(auto n, readChunk(fd.get(), chunk, deadline));
        if (n == 0 || !window.take({chunk.data(), n})) break;
    }
    return window.finish();
}

FsAnswer writeFile(const SandboxView& view, const FsRequest& request, Deadline deadline) {
    AEGIS_TRY(Target target, view.target(request.path, true, false));
    AEGIS_CHECK(replaceFile(target, request.content, deadline));
    return fmt::format("wrote {} bytes to {}", request.content.size(), request.path);
}

FsAnswer editFile(const SandboxView& view, const FsRequest& request, Deadline deadline) {
    AEGIS_TRY(Found found, view.find(request.path));
    AEGIS_TRY(auto text, readWhole(found, kMaxWriteBytes, deadline));
    std::string edited;
    std::size_t count = 0, at = 0;
    for (auto hit = text.find(request.old_string); hit != std::string::npos;
         hit = text.find(request.old_string, at)) {
        ++count;
        edited.append(text, at, hit - at).append(request.new_string);
        at = hit + request.old_string.size();
        if (edited.size() > kMaxWriteBytes)
            return {ErrorCode::kTooLarge, "would become larger than 8 MiB"};
    }
    if (count == 0)
        return {ErrorCode::kInvalid,
                "old_string does not occur in the file; read it and copy the "
                "text exactly"};
    if (count > 1 && !request.replace_all)
        return {ErrorCode::kInvalid,
                fmt::format("old_string occurs {} times; add text around it to make it unique, or "
                            "set replace_all",
                            count)};
    edited.append(text, at);
    AEGIS_TRY(Target target, view.target(request.path, false, false));
    AEGIS_CHECK(replaceFile(target, edited, deadline));
    return fmt::format("replaced {} occurrence{} in {}", count, count == 1 ? "" : "s",
                       request.path);
}

}  // namespace aegis::tools
