#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"

/// Stream sockets and what is needed to wait on them. Every descriptor made here is close-on-exec
/// and non-blocking; the functions that wait do it with poll(2) until their Deadline (kTimeout).
/// `cancel_fd`, where there is one, ends a wait with kCancelled as soon as it is readable (an
/// EventFd); -1 is none. No call raises SIGPIPE. Any thread.
namespace aegis::os {

struct PeerCred {
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;
};

/// A listening TCP socket on a numeric address or a name ("127.0.0.1", "::1", "localhost"); port 0
/// picks a free one. kConflict if the address is in use.
Result<Fd> listenTcp(const std::string& host, std::uint16_t port, int backlog = 512);
/// The local port of a TCP socket.
Result<std::uint16_t> localPort(int fd);

/// A listening unix socket with exactly `mode`. A socket file that nobody listens on is replaced;
/// kConflict if somebody does or the path is no socket; kInvalid if it is longer than 107 bytes.
Result<Fd> listenUnix(const std::string& path, unsigned mode, int backlog = 512);

/// Resolves (getaddrinfo may block beyond the deadline for a name that is not numeric) and tries
/// each address in turn. kUnreachable when refused or unknown.
Result<Fd> connectTcp(const std::string& host, std::uint16_t port, Deadline deadline,
                      int cancel_fd = -1);
/// kUnreachable when nobody listens or the file is missing.
Result<Fd> connectUnix(const std::string& path, Deadline deadline);

/// One pending connection; an empty Fd if there is none.
Result<Fd> acceptConnection(int listen_fd);

/// Who is at the other end of a unix socket, as of its connect(2).
Result<PeerCred> peerCred(int fd);
/// "127.0.0.1:4242", "[::1]:4242" or "unix".
std::string peerName(int fd);

/// A connected pair of unix sockets: of streams, or of messages (SOCK_SEQPACKET).
Result<std::pair<Fd, Fd>> socketPair();
Result<std::pair<Fd, Fd>> messagePair();

/// Waits until `fd` is ready for `events` (POLLIN, POLLOUT; errors and hang-ups count as ready).
Status waitReady(int fd, short events, Deadline deadline, int cancel_fd = -1);

/// Receives what is there, at least one byte; 0 is the end of the stream. kIo when the peer reset
/// it.
Result<std::size_t> recvSome(int fd, std::span<char> out, Deadline deadline, int cancel_fd = -1);

/// Sends all of `head` then `body`. The peer must take at least a byte every `progress_ms`, and all
/// of it by the deadline. kIo when the peer is gone.
Status sendAll(int fd, std::string_view head, std::string_view body, std::int64_t progress_ms,
               Deadline deadline, int cancel_fd = -1);

/// Whether the peer has shut down its sending side, closed or reset. Never waits.
bool peerGone(int fd);

inline constexpr std::size_t kMaxPassedFds = 96;
/// A message with descriptors (SCM_RIGHTS). At least one byte; at most kMaxPassedFds descriptors.
Status sendWithFds(int fd, std::string_view bytes, std::span<const int> fds, Deadline deadline);
struct MessageWithFds {
    std::string bytes;  ///< empty at the end of the stream
    std::vector<Fd> fds;
};
/// Receives up to `max_bytes` and up to kMaxPassedFds descriptors; more than `max_fds` is kInvalid
/// (all are closed).
Result<MessageWithFds> recvWithFds(int fd, std::size_t max_bytes, std::size_t max_fds,
                                   Deadline deadline);

/// eventfd(2) as a flag that wakes whoever polls it. Any thread.
class EventFd {
  public:
    EventFd();  ///< aborts if the process has no descriptor left
    int fd() const { return fd_.get(); }
    void signal();
    /// Clears it; true if it was set.
    bool drain();

  private:
    Fd fd_;
};

struct EpollEvent {
    std::uint64_t key = 0;
    std::uint32_t events = 0;  ///< EPOLLIN …
};

/// epoll(7), level-triggered. add/modify/remove on any thread, wait on one.
class Epoll {
  public:
    Epoll();  ///< aborts if the process has no descriptor left
    Status add(int fd, std::uint32_t events, std::uint64_t key);
    Status modify(int fd, std::uint32_t events, std::uint64_t key);
    void remove(int fd);
    /// Up to `out.size()` events; fewer or none when `timeout_ms` passes (-1: never).
    std::size_t wait(std::span<EpollEvent> out, int timeout_ms);

  private:
    Fd fd_;
};

}  // namespace aegis::os
