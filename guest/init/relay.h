#pragma once

#include <cstddef>
#include <cstdint>

namespace aegis::init {

/// Makes unix sockets of the sandbox's directory reachable on 127.0.0.1: one TCP connection is one
/// unix connection. Moves bytes and parses nothing; each direction has one fixed buffer and stops
/// reading while it is full; an end of stream is passed on as a half-close. While nobody listens on
/// the unix socket (the daemon restarts) a new connection is held and tried again for a minute.
class Relay {
  public:
    static constexpr std::size_t kMaxConnections = 64;
    static constexpr std::size_t kBufferBytes = 16 * 1024;
    static constexpr std::int64_t kHoldMs = 60'000;
    static constexpr std::int64_t kRetryMs = 50;

    /// `dir` must outlive the relay.
    void init(int epoll, const char* dir);

    /// Listens for "<dir>/<socket_name>" on 127.0.0.1, on `port` or, if that is taken, on any.
    /// Returns the port, or 0 if nothing can listen. The socket may come later.
    std::uint16_t open(const char* socket_name, std::uint16_t port);

    void acceptReady(std::uint32_t listener);
    void connectionReady(std::uint32_t index);

    /// Tries held connections again. Returns the time of the next try, or INT64_MAX.
    std::int64_t tick(std::int64_t now);

    void closeAll();

  private:
    struct Listener {
        int fd = -1;
        std::uint32_t watched = 0;
        const char* socket_name = nullptr;
    };
    struct Direction {
        char* bytes = nullptr;  ///< kBufferBytes
        std::size_t begin = 0;
        std::size_t end = 0;
        bool ended = false;   ///< the source has no more
        bool closed = false;  ///< the sink was told so, or takes no more
    };
    struct Connection {
        int tcp = -1;
        int unix_fd = -1;
        std::uint32_t tcp_watched = 0;
        std::uint32_t unix_watched = 0;
        const char* socket_name = nullptr;
        std::int64_t give_up_at = 0;
        std::int64_t retry_at = 0;
        Direction up;
        Direction down;
    };

    static constexpr std::size_t kListeners = 2;

    void dial(Connection& connection, std::int64_t now);
    void pump(Connection& connection);
    static bool move(Direction& direction, int from, int to);
    void drop(Connection& connection);
    void watchListeners();
    std::uint32_t indexOf(const Connection& connection) const;

    int epoll_ = -1;
    const char* dir_ = nullptr;
    Listener listeners_[kListeners];
    Connection connections_[kMaxConnections];
    std::size_t open_connections_ = 0;
    // Apart from what is written at the start of each: of 2 MiB, what no connection uses stays
    // untouched and is no memory.
    char buffers_[kMaxConnections][2][kBufferBytes];
};

}  // namespace aegis::init
