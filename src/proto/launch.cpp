#include "proto/launch.h"

#include <algorithm>
#include <optional>
#include <type_traits>

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
    kSpawnTemplate = 3,
    kMapStem = 4,
    kFinish = 5,
    kConfigured = 64,
    kSpawned = 65,
    kSpawnFailed = 66,
    kStemMapped = 67,
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

/// What may be wrong with a message that is written.
struct Writing {
    bool clean = true;
    bool fits = true;
};

void write(WireWriter& out, Writing& state, const std::vector<Mount>& mounts) {
    out.integer(static_cast<std::uint32_t>(mounts.size()));
    state.fits = state.fits && mounts.size() <= kMaxMounts;
    for (const auto& mount : mounts) {
        state.clean = state.clean && cleanPath(mount.target);
        out.string(mount.target);
        flag(out, mount.directory);
        flag(out, mount.writable);
    }
}

bool read(WireReader& in, std::vector<Mount>& mounts) {
    const auto count = in.integer<std::uint32_t>();
    bool valid = count <= kMaxMounts;
    for (std::uint32_t i = 0; valid && in.ok() && i < count; ++i) {
        Mount mount;
        mount.target = in.string(kMaxTargetBytes);
        valid = flag(in, mount.directory) && flag(in, mount.writable) && cleanPath(mount.target);
        mounts.push_back(std::move(mount));
    }
    return valid;
}

bool goodWord(std::string_view word) {
    return word.size() <= kMaxWordBytes && word.find('\0') == word.npos;
}

void write(WireWriter& out, Writing& state, const std::vector<std::string>& words) {
    out.integer(static_cast<std::uint32_t>(words.size()));
    state.fits = state.fits && words.size() <= kMaxWords;
    for (const auto& word : words) {
        state.clean = state.clean && goodWord(word);
        out.string(word);
    }
}

bool read(WireReader& in, std::vector<std::string>& words) {
    const auto count = in.integer<std::uint32_t>();
    bool valid = count <= kMaxWords;
    for (std::uint32_t i = 0; valid && in.ok() && i < count; ++i) {
        words.emplace_back(in.string(kMaxWordBytes));
        valid = goodWord(words.back());
    }
    return valid;
}

void write(WireWriter& out, Writing& state, const Entrance& entrance) {
    flag(out, entrance.directory);
    out.integer(entrance.doors);
    state.fits = state.fits && entrance.doors <= kMaxDoors;
}

bool read(WireReader& in, Entrance& entrance) {
    if (!flag(in, entrance.directory)) return false;
    entrance.doors = in.integer<std::uint8_t>();
    return entrance.doors <= kMaxDoors;
}

std::size_t fdCount(const Entrance& entrance) {
    return entrance.doors + (entrance.directory ? 1 : 0);
}

void write(WireWriter& out, Writing& state, const Configure& configure) {
    state.clean = goodFilter(configure.seccomp);
    state.fits = configure.seccomp.size() <= kMaxFilterBytes;
    out.string(configure.seccomp);
}

bool read(WireReader& in, Configure& configure) {
    configure.seccomp = in.string(kMaxFilterBytes);
    return goodFilter(configure.seccomp);
}

void write(WireWriter& out, Writing& state, const Spawn& spawn) {
    out.integer(spawn.token);
    out.integer(spawn.tmp_bytes);
    write(out, state, spawn.entrance);
    write(out, state, spawn.mounts);
}

bool read(WireReader& in, Spawn& spawn) {
    spawn.token = in.integer<std::uint64_t>();
    spawn.tmp_bytes = in.integer<std::uint64_t>();
    return read(in, spawn.entrance) && read(in, spawn.mounts);
}

void write(WireWriter& out, Writing& state, const SpawnTemplate& spawn) {
    out.integer(spawn.token);
    write(out, state, spawn.entrance);
    write(out, state, spawn.argv);
    write(out, state, spawn.env);
    state.clean = state.clean && goodFilter(spawn.seccomp) && !spawn.argv.empty();
    state.fits = state.fits && spawn.seccomp.size() <= kMaxFilterBytes;
    out.string(spawn.seccomp);
}

bool read(WireReader& in, SpawnTemplate& spawn) {
    spawn.token = in.integer<std::uint64_t>();
    if (!read(in, spawn.entrance) || !read(in, spawn.argv) || !read(in, spawn.env)) return false;
    spawn.seccomp = in.string(kMaxFilterBytes);
    return goodFilter(spawn.seccomp) && !spawn.argv.empty();
}

void write(WireWriter& out, Writing&, const MapStem& map) {
    out.integer(map.token);
    out.integer(map.pid);
    out.integer(map.door);
}

bool read(WireReader& in, MapStem& map) {
    map.token = in.integer<std::uint64_t>();
    map.pid = in.integer<std::uint32_t>();
    map.door = in.integer<std::uint32_t>();
    return map.door <= kDoorUsers;
}

void write(WireWriter& out, Writing& state, const Finish& finish) {
    out.integer(finish.tmp_bytes);
    write(out, state, finish.mounts);
    flag(out, finish.unhurried);
}

bool read(WireReader& in, Finish& finish) {
    finish.tmp_bytes = in.integer<std::uint64_t>();
    return read(in, finish.mounts) && flag(in, finish.unhurried);
}

template <class Message>
constexpr Type typeOf() {
    if constexpr (std::is_same_v<Message, Configure>) return Type::kConfigure;
    if constexpr (std::is_same_v<Message, Spawn>) return Type::kSpawn;
    if constexpr (std::is_same_v<Message, SpawnTemplate>) return Type::kSpawnTemplate;
    if constexpr (std::is_same_v<Message, MapStem>) return Type::kMapStem;
    if constexpr (std::is_same_v<Message, Finish>) return Type::kFinish;
}

template <class Message>
Result<std::string> encodeOne(const Message& message) {
    std::string buffer;
    Writing state;
    auto out = begin(buffer, typeOf<Message>());
    write(out, state, message);
    if (!state.fits || !out.ok()) return {ErrorCode::kTooLarge, "too many or too long mounts"};
    if (!state.clean)
        return {ErrorCode::kInvalid, "a mount's place, a word or a filter is not well formed"};
    buffer.resize(out.size());
    return buffer;
}

template <class Message>
Result<Message> parseOne(WireReader& in) {
    Message message;
    if (!read(in, message) || !in.done()) return malformed();
    return message;
}

template <class Message>
Result<Request> parseAs(WireReader& in) {
    AEGIS_TRY(auto message, parseOne<Message>(in));
    return Request(std::move(message));
}

}  // namespace

std::size_t fdCount(const Spawn& spawn) {
    return kFixedFds + fdCount(spawn.entrance) + spawn.mounts.size();
}

std::size_t fdCount(const SpawnTemplate& spawn) { return 3 + fdCount(spawn.entrance); }

Result<std::string> encode(const Request& request) {
    return std::visit([](const auto& message) { return encodeOne(message); }, request);
}

Result<std::string> encode(const Finish& finish) { return encodeOne(finish); }

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
    } else if (const auto* mapped = std::get_if<StemMapped>(&reply)) {
        auto out = begin(buffer, Type::kStemMapped);
        out.integer(mapped->token);
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
    if (type == Type::kConfigure) return parseAs<Configure>(in);
    if (type == Type::kSpawn) return parseAs<Spawn>(in);
    if (type == Type::kSpawnTemplate) return parseAs<SpawnTemplate>(in);
    if (type == Type::kMapStem) return parseAs<MapStem>(in);
    return malformed();
}

Result<Finish> parseFinish(std::string_view bytes) {
    WireReader in(bytes);
    if (header(in) != Type::kFinish) return malformed();
    return parseOne<Finish>(in);
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
    } else if (type == Type::kStemMapped) {
        reply = StemMapped{in.integer<std::uint64_t>()};
    } else {
        return malformed();
    }
    if (!in.done()) return malformed();
    return reply;
}

}  // namespace aegis::proto::launch
