#include "os/user_namespace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <utility>

#include "os/fd.h"
#include "os/files.h"
#include "os/run_program.h"

namespace aegis::os {
namespace {

constexpr std::uint64_t kMaxFile = 1 << 20;
constexpr std::size_t kMaxWords = 1024;
constexpr const char* kMapUids = "newuidmap";
constexpr const char* kMapGids = "newgidmap";

/// Set once, while there is one thread.
std::optional<uid_t> g_starting_user;

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return out;
}

std::string userName(uid_t uid) {
    std::array<char, 16 << 10> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
        return {};
    return entry.pw_name;
}

Result<std::uint32_t> rangeIn(const std::string& path, const char* option, std::uint32_t count) {
    const auto uid = ::geteuid();
    const auto name = userName(uid);
    const auto text = readFile(path, kMaxFile);
    if (text)
        if (const auto first = subordinateRange(*text, name, uid, count)) return *first;
    const auto who = name.empty() ? fmt::format("{}", uid) : name;
    return {ErrorCode::kUnsupported,
            fmt::format("{} gives the user {} no range of {} ids", path, who, count),
            fmt::format("as root: usermod {} 100000-{} {}, or a range that is free", option,
                        100'000 + count - 1, who)};
}

std::vector<std::string> mapCommand(const std::string& program, pid_t pid,
                                    const std::vector<IdExtent>& extents) {
    std::vector<std::string> out{program, fmt::format("{}", pid)};
    for (const auto& one : extents)
        for (const auto value : {one.inside, one.outside, one.count})
            out.push_back(fmt::format("{}", value));
    return out;
}

Status writeMaps(pid_t pid, const std::vector<IdExtent>& uids, const std::vector<IdExtent>& gids,
                 Deadline deadline) {
    AEGIS_TRY(const auto map_uids, findProgram(kMapUids));
    AEGIS_TRY(const auto map_gids, findProgram(kMapGids));
    AEGIS_CHECK(runProgram(mapCommand(map_uids, pid, uids), deadline));
    return runProgram(mapCommand(map_gids, pid, gids), deadline);
}

struct Pipe {
    Fd reader, writer;
};
Result<Pipe> makePipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errnoError(errno, "pipe");
    return Pipe{Fd(ends[0]), Fd(ends[1])};
}

int waitFor(pid_t child) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return status;
}

/// The maps take a process outside of the new namespace: a child that stays behind writes them. Its
/// last words are why not; none is success.
Status enter(const std::vector<IdExtent>& uids, const std::vector<IdExtent>& gids,
             Deadline deadline) {
    AEGIS_TRY(auto go, makePipe());
    AEGIS_TRY(auto words, makePipe());
    const pid_t self = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) return errnoError(errno, "fork");
    if (child == 0) {
        go.writer.reset();
        char byte = 0;
        if (::read(go.reader.get(), &byte, 1) == 1)
            if (const auto mapped = writeMaps(self, uids, gids, deadline); !mapped)
                (void)writeAll(words.writer.get(), mapped.error().message);
        ::_exit(0);
    }
    words.writer.reset();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
        const int why = errno;
        go.writer.reset();
        waitFor(child);
        return {ErrorCode::kUnsupported,
                fmt::format("a user namespace is refused: {}", errnoError(why, "unshare").message),
                "as root: sysctl user.max_user_namespaces=15000 "
                "kernel.unprivileged_userns_clone=1"};
    }
    (void)writeAll(go.writer.get(), "g");
    auto said = readAll(words.reader.get(), kMaxWords, "the child that maps ids");
    const int status = waitFor(child);
    if (said && !said->empty())
        return {ErrorCode::kUnsupported, "the ids cannot be mapped: " + *said,
                "see that newuidmap and newgidmap (package uidmap) are set-uid root"};
    if (!said || status != 0 || ::geteuid() != 0)
        return {ErrorCode::kInternal, "the child that maps ids died"};
    return {};
}

/// The same in a child.
Status tryEnter(const std::vector<IdExtent>& uids, const std::vector<IdExtent>& gids,
                Deadline deadline) {
    AEGIS_TRY(auto words, makePipe());
    const pid_t child = ::fork();
    if (child < 0) return errnoError(errno, "fork");
    if (child == 0) {
        const auto entered = enter(uids, gids, deadline);
        if (!entered)
            (void)writeAll(words.writer.get(),
                           entered.error().message + "\n" + entered.error().hint);
        ::_exit(entered ? 0 : 1);
    }
    words.writer.reset();
    const auto said = readAll(words.reader.get(), 2 * kMaxWords, "a child");
    if (waitFor(child) == 0) return {};
    const auto text = said ? *said : std::string();
    const auto end = text.find('\n');
    return {ErrorCode::kUnsupported, text.substr(0, end),
            end == text.npos ? std::string() : text.substr(end + 1)};
}

}  // namespace

std::optional<std::uint32_t> subordinateRange(std::string_view text, std::string_view user,
                                              uid_t uid, std::uint32_t count) {
    while (!text.empty()) {
        const auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const auto first = line.find(':');
        const auto second = first == line.npos ? first : line.find(':', first + 1);
        if (second == line.npos) continue;
        const auto who = line.substr(0, first);
        if (who.empty() || (who != user && number(who) != uid)) continue;
        const auto from = number(line.substr(first + 1, second - first - 1));
        const auto size = number(line.substr(second + 1));
        if (from && size && *from > 0 && *size >= count) return from;
    }
    return std::nullopt;
}

Result<SubordinateIds> subordinateIds(std::uint32_t count) {
    for (const char* program : {kMapUids, kMapGids})
        if (const auto found = findProgram(program); !found)
            return {ErrorCode::kUnsupported, found.error().message,
                    "as root: apt-get install uidmap"};
    SubordinateIds out;
    AEGIS_TRY(out.first_uid, rangeIn("/etc/subuid", "--add-subuids", count));
    AEGIS_TRY(out.first_gid, rangeIn("/etc/subgid", "--add-subgids", count));
    return out;
}

Status enterUserNamespace(const std::vector<IdExtent>& uids, const std::vector<IdExtent>& gids,
                          Deadline deadline) {
    const auto user = ::geteuid();
    AEGIS_CHECK(tryEnter(uids, gids, deadline));
    AEGIS_CHECK(enter(uids, gids, deadline));
    g_starting_user = user;
    return {};
}

bool inOwnUserNamespace() { return g_starting_user.has_value(); }

uid_t startingUser() { return g_starting_user.value_or(::geteuid()); }

}  // namespace aegis::os
