#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

/// The protocol between the daemon and its launcher, over a pair of unix sockets (SOCK_SEQPACKET)
/// that the launcher is born with: one datagram is one message, its descriptors travel with it. The
/// daemon asks, the launcher answers, one after the other. Version byte, type byte, then the fields
/// of the struct in order (little-endian integers, u32-counted strings and lists). Nothing here
/// throws; any thread.
namespace aegis::proto::launch {

inline constexpr std::size_t kMaxMessageBytes = 256 * 1024;
inline constexpr std::size_t kMaxMounts = 64;
inline constexpr std::size_t kMaxTargetBytes = 4096;
inline constexpr std::size_t kMaxFilterBytes = 32 * 1024;
inline constexpr std::size_t kMaxTextBytes = 512;
inline constexpr std::size_t kMaxWords = 512;  ///< of argv, and of env
inline constexpr std::size_t kMaxWordBytes = 64 * 1024;

/// The first message: what holds for all sandboxes.
struct Configure {
    std::string seccomp;  ///< the filter's BPF program: sock_filter structs as they lie in memory
    bool operator==(const Configure&) const = default;
};
/// The launcher is there; nothing is made yet.
struct Configured {
    std::uint32_t landlock_abi = 0;  ///< 0: the kernel has none
    bool operator==(const Configured&) const = default;
};

/// A place that the sandbox sees, of the mount whose descriptor travels with the message.
struct Mount {
    std::string target;  ///< absolute, clean ("/a/b")
    bool directory = true;
    bool writable = false;
    auto operator<=>(const Mount&) const = default;
};

/// How a new process comes into its cgroup: by descriptors that travel with the message.
struct Entrance {
    bool directory = false;  ///< one of a cgroup v2, to be born in
    std::uint8_t doors = 0;  ///< of v1: files that it writes "0" to before all else
    bool operator==(const Entrance&) const = default;
};
inline constexpr std::size_t kMaxDoors = 3;

/// Makes a sandbox up to the point where nothing but its first program is missing. Descriptors, in
/// this order: detached mounts (open_tree) of the image's root, of the directory of guest programs,
/// of the run directory; the sandbox's end of its control pair (below); those of `entrance`; one
/// detached mount for each of `mounts`.
///
/// The new process writes to its control pair one byte kReady, or kFailed with a u32 errno value
/// and a text. It waits there for kGo, then becomes /aegis/bin/init; end of file ends it.
struct Spawn {
    std::uint64_t token = 0;
    std::uint64_t tmp_bytes = 0;  ///< 0: no tmpfs at /tmp, a mount is there
    Entrance entrance;
    std::vector<Mount> mounts;  ///< in mount order
    bool operator==(const Spawn&) const = default;
};
inline constexpr std::size_t kFixedFds = 4;
std::size_t fdCount(const Spawn& spawn);

/// Makes a template: a process of an image from which sandboxes are forked. Descriptors: detached
/// mounts of the image's root and of the directory of guest programs, the template's end of its
/// control pair (SOCK_SEQPACKET); those of `entrance`. It says kReady and waits for kGo like a
/// Spawn, then executes `argv` as the sandbox's user with the pair at descriptor kTemplateFd.
struct SpawnTemplate {
    std::uint64_t token = 0;
    Entrance entrance;
    std::vector<std::string> argv;  ///< argv[0] is searched in PATH of `env`
    std::vector<std::string> env;
    std::string seccomp;  ///< the template's own filter, under which stems still make namespaces
    bool operator==(const SpawnTemplate&) const = default;
};
inline constexpr int kTemplateFd = 3;
std::size_t fdCount(const SpawnTemplate& spawn);

/// A stem goes through the doors of its cgroup, if it has any, as a user that is its alone,
/// kDoorUser inside and kDoorUserBase + `door` - 1 outside, and they were opened as that: the
/// kernel lets whoever has them move what runs as their opener, which is that stem, and nothing
/// once it has changed users.
inline constexpr std::uint32_t kDoorUser = 65536;
inline constexpr std::uint32_t kDoorUserBase = 0x70010000;
inline constexpr std::uint32_t kDoorUsers = 65536;

/// Writes the id maps of a stem, which only its template's user namespace may do. A pidfd of the
/// template travels with it.
struct MapStem {
    std::uint64_t token = 0;
    std::uint32_t pid = 0;   ///< in the launcher's pid namespace
    std::uint32_t door = 0;  ///< which of the kDoorUsers, from 1 on, is its own; 0: none
    bool operator==(const MapStem&) const = default;
};
struct StemMapped {
    std::uint64_t token = 0;
    bool operator==(const StemMapped&) const = default;
};

/// To a template, on its control pair: first a Configure, which it answers with kReady; then one
/// byte kGo with the stem's end of a pair (SOCK_SEQPACKET) for each stem. It answers kReady with a
/// pidfd, or kFailed and a text. The stem, in namespaces of its own, waits on its pair for kGo (its
/// ids are mapped) with the doors of its cgroup, if it is to go there itself, says kReady, and
/// waits for what makes it a sandbox: a Finish with a detached mount of the run directory; image
/// and programs are its template's. If there are `mounts` it makes their places, says kReady and
/// waits for kGo with a detached mount for each. It becomes /aegis/bin/init with a payload that
/// waits (ctl.h), or says kFailed and a text; end of file ends it.
struct Finish {
    std::uint64_t tmp_bytes = 0;
    std::vector<Mount> mounts;
    bool unhurried = true;  ///< its payload may prepare itself before it looks for its job
    bool operator==(const Finish&) const = default;
};
inline constexpr std::size_t kFinishFds = 1;
Result<std::string> encode(const Finish& finish);
Result<Finish> parseFinish(std::string_view bytes);

/// A pidfd of the new process travels with it.
struct Spawned {
    std::uint64_t token = 0;
    std::uint32_t pid = 0;  ///< in the launcher's pid namespace
    bool operator==(const Spawned&) const = default;
};
struct SpawnFailed {
    std::uint64_t token = 0;
    std::int32_t error = 0;  ///< errno value
    std::string text;        ///< the step that failed
    bool operator==(const SpawnFailed&) const = default;
};

using Request = std::variant<Configure, Spawn, SpawnTemplate, MapStem>;
using Reply = std::variant<Configured, Spawned, SpawnFailed, StemMapped>;

inline constexpr char kReady = 'r';
inline constexpr char kFailed = 'f';
inline constexpr char kGo = 'g';

/// kTooLarge when a limit is passed, kInvalid for a target that is not absolute and clean.
Result<std::string> encode(const Request& request);
Result<std::string> encode(const Reply& reply);

/// Strict: wrong version, unknown type, short, overlong or out-of-range fields, trailing bytes are
/// all kInvalid.
Result<Request> parseRequest(std::string_view bytes);
Result<Reply> parseReply(std::string_view bytes);

}  // namespace aegis::proto::launch
