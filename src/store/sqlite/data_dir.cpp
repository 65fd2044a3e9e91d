#include "store/sqlite/data_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/log.h"
#include "os/clock.h"
#include "os/files.h"

namespace aegis::store {
namespace {

constexpr std::uint64_t kHeadroom = 1 << 20;

std::string ownerPid(int fd) {
    std::array<char, 64> text{};
    auto n = ::pread(fd, text.data(), text.size(), 0);
    std::string pid(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
    while (!pid.empty() && pid.back() == '\n')
        pid.pop_back();
    bool digits = !pid.empty() && pid.find_first_not_of("0123456789") == std::string::npos;
    return digits ? pid : "unknown";
}

/// False only if there is no such process, or nothing of it but its exit status.
bool isRunning(const std::string& pid) {
    auto stat = os::readFile(fmt::format("/proc/{}/stat", pid), 4096);
    if (!stat) return false;
    auto state = stat->rfind(") ");  // proc(5): behind the name, which may hold anything
    return state == std::string::npos || (*stat)[state + 2] != 'Z';
}

}  // namespace

Result<DirLock> DirLock::acquire(const std::string& data_dir) {
    constexpr std::int64_t kPatienceMs = 5000;
    constexpr std::int64_t kPauseMs = 5;
    std::string path = data_dir + "/lock";
    DirLock lock;
    AEGIS_TRY(lock.fd_, os::openFile(path, O_RDWR | O_CREAT, 0600));
    auto& clock = os::systemClock();
    auto patience = Deadline::in(clock.boot(), kPatienceMs);
    while (::flock(lock.fd_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return errnoError(errno, path);
        // A program that the former daemon was starting as it was killed has its files until it
        // has been executed.
        if (!isRunning(ownerPid(lock.fd_.get())) && !patience.passed(clock.boot())) {
            os::pauseMs(kPauseMs);
            continue;
        }
        return {ErrorCode::kConflict,
                fmt::format("another daemon (pid {}) is using this data directory ({})",
                            ownerPid(lock.fd_.get()), data_dir),
                "stop it with 'aegis daemon stop', or set another storage.data_dir"};
    }
    // Over the old pid and then cut, never cut first: a full disk must not keep the daemon from
    // starting.
    auto pid = fmt::format("{}\n", ::getpid());
    AEGIS_CHECK(os::writeAll(lock.fd_.get(), pid));
    if (::ftruncate(lock.fd_.get(), static_cast<off_t>(pid.size())) != 0)
        return errnoError(errno, path);
    return lock;
}

Error storageFull() {
    return {ErrorCode::kStorageFull, "the data directory's disk is full; nothing new is accepted",
            "free some space; the daemon goes on by itself"};
}

Reserve::Reserve(std::string data_dir, std::uint64_t bytes)
    : dir_(std::move(data_dir)), path_(dir_ + "/reserve"), bytes_(bytes) {}

std::uint64_t Reserve::freeBytes() const {
    struct statvfs st{};
    if (::statvfs(dir_.c_str(), &st) != 0) return 0;
    return static_cast<std::uint64_t>(st.f_bavail) * st.f_frsize;
}

bool Reserve::make() {
    std::lock_guard lock(mutex_);
    if (held_) return true;
    auto fd = os::openFile(path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (!fd) return false;
    // One that a former process left is allocated already and costs nothing more.
    bool whole = ::lseek(fd->get(), 0, SEEK_END) == static_cast<off_t>(bytes_);
    bool room = whole || freeBytes() >= bytes_ + kHeadroom;
    held_ = room && ::posix_fallocate(fd->get(), 0, static_cast<off_t>(bytes_)) == 0;
    if (!held_) ::unlink(path_.c_str());
    return held_;
}

bool Reserve::release() {
    std::lock_guard lock(mutex_);
    if (!std::exchange(held_, false)) return false;
    log(LogLevel::kWarn,
        "the data directory's disk is full: the reserve is released, running "
        "executions go on, new ones are refused");
    return ::unlink(path_.c_str()) == 0;
}

bool Reserve::held() const {
    std::lock_guard lock(mutex_);
    return held_;
}

Status Reserve::roomForNew() const {
    std::lock_guard lock(mutex_);
    if (!held_ || freeBytes() < kHeadroom) return storageFull();
    return {};
}

}  // namespace aegis::store
