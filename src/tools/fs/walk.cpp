#include "tools/fs/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "os/mount.h"
#include "os/resolve.h"

namespace aegis::tools {
namespace {

constexpr std::size_t kMaxVisited = 100'000;
constexpr int kMaxDepth = 32;

class Walk {
  public:
    Walk(const SandboxView& view, bool recursive, Deadline deadline,
         const std::function<bool(const Entry&)>& visit)
        : view_(view), recursive_(recursive), deadline_(deadline), visit_(visit) {}

    Status directory(int fd, const std::string& prefix, int depth) {
        AEGIS_TRY(auto names, namesIn(fd));
        for (auto& name : names) {
            if (stopped_) return {};
            AEGIS_CHECK(checkTime(deadline_));
            Entry entry{.dir = fd, .name = name, .relative = prefix + name};
            if (::fstatat(fd, name.c_str(), &entry.stat, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) !=
                0)
                continue;  // gone meanwhile
            if (!visit_(entry)) stopped_ = true;
            if (stopped_ || !recursive_ || !S_ISDIR(entry.stat.st_mode) || depth >= kMaxDepth)
                continue;
            AEGIS_CHECK(below(fd, entry, depth));
        }
        return {};
    }

  private:
    /// What cannot be opened is left out, as `find` would.
    Status below(int fd, const Entry& entry, int depth) {
        auto path = os::openChild(fd, entry.name, O_PATH | O_DIRECTORY);
        if (!path || !view_.checkReadable(path->get())) return {};
        auto child = os::reopen(path->get(), O_RDONLY | O_DIRECTORY | O_NONBLOCK);
        if (!child) return {};
        return directory(child->get(), entry.relative + "/", depth + 1);
    }

    Result<std::vector<std::string>> namesIn(int fd) {
        int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (copy < 0) return fsError(errno, "read");
        std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(copy), &::closedir);
        if (!dir) {
            ::close(copy);
            return fsError(errno, "read");
        }
        std::vector<std::string> names;
        while (dirent* entry = ::readdir(dir.get())) {
            if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0)
                continue;
            if (++visited_ > kMaxVisited)
                return {ErrorCode::kTooLarge,
                        fmt::format("holds more than {} entries; choose a smaller directory",
                                    kMaxVisited)};
            names.emplace_back(entry->d_name);
        }
        std::ranges::sort(names);
        return names;
    }

    const SandboxView& view_;
    bool recursive_;
    Deadline deadline_;
    const std::function<bool(const Entry&)>& visit_;
    std::size_t visited_ = 0;
    bool stopped_ = false;
};

}  // namespace

Status walk(const SandboxView& view, const os::Fd& dir, bool recursive, Deadline deadline,
            const std::function<bool(const Entry&)>& visit) {
    return Walk(view, recursive, deadline, visit).directory(dir.get(), "", 0);
}

}  // namespace aegis::tools
