#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "os/resolve.h"
#include "text/escape.h"
#include "text/regex.h"
#include "tools/fs/request.h"
#include "tools/fs/walk.h"

namespace aegis::tools {
namespace {

constexpr std::size_t kMaxGlobResults = 2000;
constexpr std::size_t kMaxGrepResults = 1000;
constexpr std::size_t kMaxGrepFileBytes = 8 << 20;
constexpr std::size_t kMaxGrepLineBytes = 500;
constexpr std::size_t kBinaryProbeBytes = 8192;

/// One alternative or character of a glob at `at`, appended to `regex`; `at` goes past it.
Status appendGlobPart(std::string_view glob, std::size_t& at, int& braces, std::string& regex) {
    char c = glob[at];
    if (c == '*' && glob.substr(at).starts_with("**/")) {
        regex += "(?:[^/]+/)*";
        at += 3;
    } else if (c == '*' && glob.substr(at).starts_with("**")) {
        regex += ".*";
        at += 2;
    } else if (c == '*' || c == '?') {
        regex += c == '*' ? "[^/]*" : "[^/]";
        ++at;
    } else if (c == '[') {
        auto end = glob.find(']', at + 2);
        if (end == std::string_view::npos) return {ErrorCode::kInvalid, "has a [ without a ]"};
        regex += '[';
        for (auto inner : glob.substr(at + 1, end - at - 1)) {
            bool negates = inner == '!' && regex.back() == '[';
            if (inner == '[' || inner == '\\') regex += '\\';
            regex += negates ? '^' : inner;
        }
        regex += ']';
        at = end + 1;
    } else if (c == '{' || c == '}' || (c == ',' && braces > 0)) {
        braces += c == '{' ? 1 : c == '}' ? -1 : 0;
        if (braces < 0) return {ErrorCode::kInvalid, "has a } without a {"};
        regex += c == '{' ? "(?:" : c == '}' ? ")" : "|";
        ++at;
    } else {
        if (c == '\\' && at + 1 < glob.size()) c = glob[++at];
        if (std::string_view("\\.+^$()|[]{}*?").find(c) != std::string_view::npos) regex += '\\';
        regex += c;
        ++at;
    }
    return {};
}

/// Without a slash a pattern matches names, else the whole path below where the search begins.
Result<text::Regex> compileGlob(std::string_view glob, bool names_anywhere) {
    std::string regex = "(?s)^";
    if (names_anywhere && glob.find('/') == std::string_view::npos) regex += "(?:[^/]+/)*";
    if (glob.starts_with('/')) glob.remove_prefix(1);
    int braces = 0;
    Status status;
    for (std::size_t at = 0; status && at < glob.size();)
        status = appendGlobPart(glob, at, braces, regex);
    if (status && braces != 0) status = Status{ErrorCode::kInvalid, "has a { without a }"};
    if (!status) return std::move(status.error()).within("the pattern");
    return text::Regex::compile(regex + "$");
}

std::string join(const std::string& base, const std::string& relative) {
    return base == "/" ? base + relative : fmt::format("{}/{}", base, relative);
}

/// Lines of one file that match.
class Grep {
  public:
    Grep(const SandboxView& view, text::Regex regex, Deadline deadline)
        : view_(view), regex_(std::move(regex)), deadline_(deadline) {}

    /// False when no more is wanted. Files that cannot be read, and binary ones, are left out.
    bool file(const Found& found, const std::string& path) {
        auto text = readWhole(found, kMaxGrepFileBytes, deadline_);
        if (!text) {
            ++skipped_;
            return true;
        }
        if (text->substr(0, kBinaryProbeBytes).find('\0') != std::string::npos) return true;
        std::size_t line = 1;
        for (std::size_t at = 0; at < text->size(); ++line) {
            auto end = std::min(text->find('\n', at), text->size());
            if ((line & 1023) == 0 && !checkTime(deadline_)) return false;
            auto one = std::string_view(*text).substr(at, end - at);
            if (regex_.search(one) && !add(path, line, one)) return false;
            at = end + 1;
        }
        return true;
    }

    bool entry(const Entry& entry, const std::string& path) {
        auto fd = os::openChild(entry.dir, entry.name, O_PATH);
        if (!fd || !view_.checkReadable(fd->get())) return true;
        Found found{.fd = std::move(*fd)};
        if (::fstat(found.fd.get(), &found.stat) != 0 || !S_ISREG(found.stat.st_mode)) return true;
        return file(found, path);
    }

    std::string finish() {
        if (hits_ == 0) out_ = "no match\n";
        if (full_) out_ += "[more matches follow: narrow the pattern or the path]\n";
        if (skipped_ > 0)
            out_ +=
                fmt::format("[{} files were not searched: too large or not readable]\n", skipped_);
        out_.pop_back();
        return std::move(out_);
    }

  private:
    bool add(const std::string& path, std::size_t line, std::string_view text) {
        if (hits_ >= kMaxGrepResults || out_.size() >= kMaxReadBytes) {
            full_ = true;
            return false;
        }
        ++hits_;
        out_ += fmt::format("{}:{}:{}\n", text::escapeControl(path), line,
                            text::shorten(json::toUtf8(text), kMaxGrepLineBytes));
        return true;
    }

    const SandboxView& view_;
    text::Regex regex_;
    Deadline deadline_;
    std::string out_;
    std::size_t hits_ = 0, skipped_ = 0;
    bool full_ = false;
};

}  // namespace

FsAnswer globFiles(const SandboxView& view, const FsRequest& request, Deadline deadline) {
    std::string_view pattern = request.pattern;
    auto base = join(request.path, "");
    if (pattern.starts_with(base)) pattern.remove_prefix(base.size());
    AEGIS_TRY(auto regex, compileGlob(pattern, false));
    AEGIS_TRY(Found found, view.find(request.path));
    AEGIS_TRY(os::Fd dir, openDirectory(found));
    std::vector<std::string> paths;
    bool truncated = false;
    AEGIS_CHECK(walk(view, dir, true, deadline, [&](const Entry& entry) {
        if (!S_ISREG(entry.stat.st_mode) || !regex.search(entry.relative)) return true;
        truncated = paths.size() >= kMaxGlobResults;
        if (!truncated) paths.push_back(text::escapeControl(join(request.path, entry.relative)));
        return !truncated;
    }));
    if (paths.empty()) return std::string("no match");
    return fmt::format("{}{}", fmt::join(paths, "\n"),
                       truncated ? "\n[more files follow: narrow the pattern]" : "");
}

FsAnswer grepFiles(const SandboxView& view, const FsRequest& request, Deadline deadline) {
    AEGIS_TRY(auto regex, text::Regex::compile(request.pattern));
    std::optional<text::Regex> filter;
    if (!request.glob.empty()) {
        AEGIS_TRY(auto compiled, compileGlob(request.glob, true));
        filter = std::move(compiled);
    }
    AEGIS_TRY(Found found, view.find(request.path));
    Grep grep(view, std::move(regex), deadline);
    if (!S_ISDIR(found.stat.st_mode)) {
        AEGIS_CHECK(openRegular(found));
        grep.file(found, request.path);
        AEGIS_CHECK(checkTime(deadline));
        return grep.finish();
    }
    AEGIS_TRY(os::Fd dir, openDirectory(found));
    AEGIS_CHECK(walk(view, dir, true, deadline, [&](const Entry& entry) {
        if (!S_ISREG(entry.stat.st_mode) || (filter && !filter->search(entry.relative)))
            return true;
        return grep.entry(entry, join(request.path, entry.relative));
    }));
    AEGIS_CHECK(checkTime(deadline));
    return grep.finish();
}

}  // namespace aegis::tools
