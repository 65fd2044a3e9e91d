#include "sandbox/common/oom.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/log.h"
#include "os/files.h"

namespace aegis::sandbox {
namespace {

/// Plenty for loopback, and for a hundred sandboxes still less than a host has in all.
constexpr std::uint64_t kTcpBufferBytes = 8 << 20;

/// Calls `each` with every line, without its newline, until it returns false.
template <class Each>
void forLines(std::string_view text, Each each) {
    while (!text.empty()) {
        const auto end = text.find('\n');
        if (!each(text.substr(0, end))) return;
        if (end == std::string_view::npos) return;
        text.remove_prefix(end + 1);
    }
}

bool namesController(std::string_view list, std::string_view controller) {
    while (!list.empty()) {
        const auto comma = list.find(',');
        if (list.substr(0, comma) == controller) return true;
        if (comma == std::string_view::npos) return false;
        list.remove_prefix(comma + 1);
    }
    return false;
}

}  // namespace

std::optional<std::string> oomFileOf(std::string_view proc_cgroup) {
    std::optional<std::string> v1;
    std::optional<std::string> v2;
    forLines(proc_cgroup, [&](std::string_view line) {
        const auto first = line.find(':');
        const auto second = first == line.npos ? first : line.find(':', first + 1);
        if (second == line.npos) return true;
        const auto controllers = line.substr(first + 1, second - first - 1);
        const auto path = line.substr(second + 1);
        if (path.empty() || path.front() != '/') return true;
        if (controllers.empty())
            v2 = fmt::format("/sys/fs/cgroup{}/memory.events", path);
        else if (namesController(controllers, "memory"))
            v1 = fmt::format("/sys/fs/cgroup/memory{}/memory.oom_control", path);
        return true;
    });
    return v1 ? v1 : v2;
}

std::optional<std::string> tcpLimitFileOf(std::string_view proc_cgroup) {
    auto file = oomFileOf(proc_cgroup);
    constexpr std::string_view kCounter = "/memory.oom_control";
    if (!file || !file->ends_with(kCounter)) return std::nullopt;
    file->resize(file->size() - kCounter.size());
    if (file->ends_with('/')) return std::nullopt;  // the hierarchy's root has no limits
    return *file + "/memory.kmem.tcp.limit_in_bytes";
}

namespace {

/// Success where there is no such limit.
Status limitTcpBuffers(std::string_view proc_cgroup) {
    const auto path = tcpLimitFileOf(proc_cgroup);
    if (!path) return {};
    // Never on the daemon's own group, which all that runs beside it would share.
    const auto own = os::readFile("/proc/self/cgroup", 1 << 16);
    if (own && tcpLimitFileOf(*own) == path) return {};
    auto file = os::openFile(*path, O_WRONLY);
    if (!file && file.error().code == ErrorCode::kNotFound) return {};
    if (!file) return file.error();
    return os::writeAll(file->get(), fmt::format("{}", kTcpBufferBytes));
}

}  // namespace

Result<OomCounter> watchMemory(std::string_view proc_cgroup) {
    if (auto limited = limitTcpBuffers(proc_cgroup); !limited)
        return std::move(limited.error()).within("the limit of TCP's buffers");
    auto counter = OomCounter::open(proc_cgroup);
    if (counter) return counter;
    log(LogLevel::kDebug, "out-of-memory kills cannot be counted",
        {{"error", counter.error().message}});
    return OomCounter();
}

std::optional<std::uint64_t> parseOomKills(std::string_view file) {
    std::optional<std::uint64_t> kills;
    forLines(file, [&](std::string_view line) {
        constexpr std::string_view kKey = "oom_kill ";
        if (!line.starts_with(kKey)) return true;
        line.remove_prefix(kKey.size());
        std::uint64_t value = 0;
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
        if (error == std::errc{} && end == line.data() + line.size()) kills = value;
        return false;
    });
    return kills;
}

bool inCgroupOf(std::string_view proc_cgroup, std::string_view container_id) {
    return container_id.size() == 64 && proc_cgroup.find(container_id) != std::string_view::npos;
}

bool isFirstProcess(std::string_view proc_status) {
    bool first = false;
    forLines(proc_status, [&](std::string_view line) {
        if (!line.starts_with("NSpid:\t")) return true;
        line.remove_prefix(7);
        const auto last = line.rfind('\t');
        first = last != line.npos && line.substr(last + 1) == "1";
        return false;
    });
    return first;
}

Result<OomCounter> OomCounter::open(std::string_view proc_cgroup) {
    const auto path = oomFileOf(proc_cgroup);
    if (!path) return {ErrorCode::kUnsupported, "no memory cgroup counts out-of-memory kills"};
    OomCounter counter;
    AEGIS_TRY(counter.file_, os::openFile(*path, O_RDONLY));
    return counter;
}

std::optional<std::uint64_t> OomCounter::kills() const {
    if (!file_) return std::nullopt;
    std::array<char, 1024> text{};
    const auto size = ::pread(file_.get(), text.data(), text.size(), 0);
    if (size <= 0) return std::nullopt;
    return parseOomKills({text.data(), static_cast<std::size_t>(size)});
}

}  // namespace aegis::sandbox
