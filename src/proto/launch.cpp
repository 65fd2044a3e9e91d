#include "proto/launch.h"

#include <algorithm>
#include <optional>

#include "proto/ctl_wire.h"

namespace aegis::proto::launch {
namespace {

using ctl::WireReader;
using ctl::WireWriter;

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kFilterUnit = 8;  // sizeof(sock_filter)

enum class Type : std::uint8_t {
    kConfigure = 1,
    kSpawn = 2,
    kConfigured = 64,
    kSpawned = 65,
    kSpawnFailed = 66,
};

/// Absolute, not "/", no empty, "." or ".." component, no NUL, no slash at the end.
bool cleanPath(std::string_view path) {
    if (path.size() < 2 || path.front() != '/' || path.size() > kMaxTargetBytes) return false;
    if (path.find('\0') != path.npos) return false;
    for (std::size_t at = 1; at <= path.size();) {
        const auto end = std::min(path.find('/', at), path.size());
        const auto part = path.substr(at, end - at);
        if (part.empty() || part == "." || part == "..") return false;
        at = end + 1;
    }
    return true;
}

bool goodFilter(std::string_view filter) {
    return !filter.empty() && filter.size() % kFilterUnit == 0;
}

WireWriter begin(std::string& buffer, Type type) {
    buffer.resize(kMaxMessageBytes);
    WireWriter out(buffer.data(), buffer.size());
    out.integer(kVersion);
    out.integer(static_cast<std::uint8_t>(type));
    return out;
}

void flag(WireWriter& out, bool value) { out.integer(static_cast<std::uint8_t>(value ? 1 : 0)); }

bool flag(WireReader& in, bool& value) {
    const auto byte = in.integer<std::uint8_t>();
    value = byte == 1;
    return byte <= 1;
}

Error malformed() { return {ErrorCode::kInvalid, "not a message of the launcher's protocol"}; }

/// The type byte, after the version; nullopt when the header is not ours.
std::optional<Type> header(WireReader& in) {
    const auto version = in.integer<std::uint8_t>();
    const auto type = in.integer<std::uint8_t>();
    if (!in.ok() || version != kVersion) return std::nullopt;
    return static_cast<Type>(type);
}

Result<Request> parseSpawn(WireReader& in) {
    Spawn spawn;
    spawn.token = in.integer<std::uint64_t>();
    spawn.tmp_bytes = in.integer<std::uint64_t>();
    bool valid = flag(in, spawn.into_cgroup);
    const auto count = in.integer<std::uint32_t>();
    valid = valid && count <= kMaxMounts;
    for (std::uint32_t i = 0; valid && in.ok() && i < count; ++i) {
        Mount mount;
        mount.target = in.string(kMaxTargetBytes);
        valid = flag(in, mount.directory) && flag(in, mount.writable) && cleanPath(mount.target);
        spawn.mounts.push_back(std::move(mount));
    }
    if (!valid || !in.done()) return malformed();
    return Request(std::move(spawn));
}

}  // namespace

std::size_t fdCount(const Spawn& spawn) {
    return kFixedFds + (spawn.into_cgroup ? 1 : 0) + spawn.mounts.size();
}

Result<std::string> encode(const Request& request) {
    std::string buffer;
    bool clean = true;
    auto out =
        begin(buffer, std::holds_alternative<Spawn>(request) ? Type::kSpawn : Type::kConfigure);
    bool fits = true;
    if (const auto* configure = std::get_if<Configure>(&request)) {
        clean = goodFilter(configure->seccomp);
        fits = configure->seccomp.size() <= kMaxFilterBytes;
        out.string(configure->seccomp);
    } else {
        const auto& spawn = std::get<Spawn>(request);
        out.integer(spawn.token);
        out.integer(spawn.tmp_bytes);
        flag(out, spawn.into_cgroup);
        out.integer(static_cast<std::uint32_t>(spawn.mounts.size()));
        fits = spawn.mounts.size() <= kMaxMounts;
        for (const auto& mount : spawn.mounts) {
            clean = clean && cleanPath(mount.target);
            out.string(mount.target);
            flag(out, mount.directory);
            flag(out, mount.writable);
        }
    }
    if (!fits || !out.ok()) return {ErrorCode::kTooLarge, "too many or too long mounts"};
    if (!clean) return {ErrorCode::kInvalid, "a mount's place is not a clean absolute path"};
    buffer.resize(out.size());
    return buffer;
}

Result<std::string> encode(const Reply& reply) {
    std::string buffer;
    if (const auto* configured = std::get_if<Configured>(&reply)) {
        auto out = begin(buffer, Type::kConfigured);
        out.integer(configured->landlock_abi);
        buffer.resize(out.size());
    } else if (const auto* spawned = std::get_if<Spawned>(&reply)) {
        auto out = begin(buffer, Type::kSpawned);
        out.integer(spawned->token);
        out.integer(spawned->pid);
        buffer.resize(out.size());
    } else {
        const auto& failed = std::get<SpawnFailed>(reply);
        auto out = begin(buffer, Type::kSpawnFailed);
        out.integer(failed.token);
        out.integer(failed.error);
        out.string(std::string_view(failed.text).substr(0, kMaxTextBytes));
        buffer.resize(out.size());
    }
    return buffer;
}

Result<Request> parseRequest(std::string_view bytes) {
    WireReader in(bytes);
    const auto type = header(in);
    if (type == Type::kSpawn) return parseSpawn(in);
    if (type != Type::kConfigure) return malformed();
    Configure configure;
    configure.seccomp = in.string(kMaxFilterBytes);
    if (!in.done() || !goodFilter(configure.seccomp)) return malformed();
    return Request(std::move(configure));
}

Result<Reply> parseReply(std::string_view bytes) {
    WireReader in(bytes);
    const auto type = header(in);
    Reply reply;
    if (type == Type::kConfigured) {
        reply = Configured{in.integer<std::uint32_t>()};
    } else if (type == Type::kSpawned) {
        const auto token = in.integer<std::uint64_t>();
        reply = Spawned{token, in.integer<std::uint32_t>()};
    } else if (type == Type::kSpawnFailed) {
        SpawnFailed failed;
        failed.token = in.integer<std::uint64_t>();
        failed.error = in.integer<std::int32_t>();
        failed.text = in.string(kMaxTextBytes);
        reply = std::move(failed);
    } else {
        return malformed();
    }
    if (!in.done()) return malformed();
    return reply;
}

}  // namespace aegis::proto::launch
