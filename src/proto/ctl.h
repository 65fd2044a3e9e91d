#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "proto/ctl_wire.h"

/// The control protocol between the daemon and PID 1 of a sandbox, over `ctl.sock` in the sandbox's
/// directory: the daemon listens (SOCK_SEQPACKET), PID 1 connects and connects again whenever the
/// connection is lost. One datagram is one message: version byte, type byte, then the fields of the
/// struct in order (little-endian integers, u32-counted strings and lists).
///
/// The order of things: hello; prepare, or not; start -> started | start_failed; exited; exec ->
/// exec_done, any number of times, one at once; kill_all -> killed at any time; shutdown. `exited`
/// comes after every process in the sandbox but PID 1 is gone. After a lost connection the guest
/// says hello again, with its state, and repeats `exited` if the payload has ended. While the guest
/// runs a command, `exec` gets exec_done with error EBUSY; an exec whose connection is lost is
/// killed.
///
/// The daemon must check SO_PEERCRED's pid against the container's first process before it reads,
/// and must treat all that the guest says as hostile. Nothing here throws; any thread.
namespace aegis::proto::ctl {

/// What to run. `argv[0]` without a slash is searched in PATH of `env` (NAME=value strings).
struct Command {
    std::vector<std::string> argv;
    std::vector<std::string> env;
    std::string cwd;
    bool operator==(const Command&) const = default;
};

/// Before `start`, and without an answer: starts a payload that waits for its job on descriptor
/// kJobFd. If that fails, or it dies meanwhile, `start` starts a fresh one.
struct Prepare {
    Command command;
    bool operator==(const Prepare&) const = default;
};

/// With it travel descriptors by SCM_RIGHTS, in this order: the files for stdout and stderr (opened
/// O_WRONLY|O_APPEND), then, if `has_stdin`, the payload's stdin (else /dev/null). The guest writes
/// at most the caps, in bytes, then goes on draining and counting.
struct Start {
    Command command;
    bool has_stdin = false;
    bool to_waiting = false;  ///< the payload that waits, if there is one, takes this as its job
    std::uint64_t stdout_cap = 0;
    std::uint64_t stderr_cap = 0;
    bool operator==(const Start&) const = default;
};

/// Runs a command after the payload has ended. Both of its streams come back as tails of at most
/// `output_limit` (<= kMaxExecOutputBytes) bytes each.
struct Exec {
    std::uint32_t id = 0;
    Command command;
    std::uint32_t timeout_ms = 0;
    std::uint32_t output_limit = 0;
    bool operator==(const Exec&) const = default;
};

struct KillAll {
    bool operator==(const KillAll&) const = default;
};
struct Shutdown {
    bool operator==(const Shutdown&) const = default;
};
using HostMessage = std::variant<Start, Exec, KillAll, Shutdown, Prepare>;

struct Hello {
    State state = State::kIdle;
    std::uint32_t pid = 0;  ///< as the guest sees itself: 1
    /// Where the guest relays 127.0.0.1 to api.sock and proxy.sock; 0: it cannot.
    std::uint16_t api_port = 0;
    std::uint16_t proxy_port = 0;
    bool operator==(const Hello&) const = default;
};
struct Started {
    std::uint32_t pid = 0;
    bool operator==(const Started&) const = default;
};
/// `error` is an errno value; `text` says what could not be done ("python3: not found in PATH").
struct StartFailed {
    std::int32_t error = 0;
    std::string text;
    bool operator==(const StartFailed&) const = default;
};
/// `exit_code` is -1 when a signal ended the payload. The byte counts are what it wrote, which may
/// be more than was kept; `truncated` says so for either stream.
struct Exited {
    std::int32_t exit_code = 0;
    std::int32_t signal = 0;
    std::uint64_t stdout_bytes = 0;
    std::uint64_t stderr_bytes = 0;
    bool truncated = false;
    bool operator==(const Exited&) const = default;
};
/// `error` (errno, with `text`) is not 0 when the command could not be started.
struct ExecDone {
    std::uint32_t id = 0;
    std::int32_t exit_code = 0;
    std::int32_t signal = 0;
    bool timed_out = false;
    std::int32_t error = 0;
    std::string text;
    std::uint64_t stdout_bytes = 0;
    std::uint64_t stderr_bytes = 0;
    std::string stdout_tail;
    std::string stderr_tail;
    bool operator==(const ExecDone&) const = default;
};
struct Killed {
    bool operator==(const Killed&) const = default;
};
using GuestMessage = std::variant<Hello, Started, StartFailed, Exited, ExecDone, Killed>;

/// How many descriptors travel with a message of the daemon's.
std::size_t fdCount(const HostMessage& message);

/// kTooLarge when a limit of ctl_wire.h is passed; kInvalid for a NUL inside a string of a command
/// or an empty argv.
Result<std::string> encode(const HostMessage& message);
Result<std::string> encode(const GuestMessage& message);

/// Strict: wrong version, unknown type, short, overlong or out-of-range fields, trailing bytes are
/// all kInvalid.
Result<HostMessage> parseHostMessage(std::string_view bytes);
Result<GuestMessage> parseGuestMessage(std::string_view bytes);

}  // namespace aegis::proto::ctl
