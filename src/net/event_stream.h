#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::net {

using StreamId = std::uint64_t;

/// Why a stream ended.
enum class StreamEnd : std::uint8_t {
    kFinished,  ///< finish() and everything was sent
    kGone,      ///< the client closed, half-closed or reset
    kTooSlow,   ///< its queue outgrew the limit, or it took nothing for the progress time
    kShutdown,  ///< the hub was destroyed, or close()
};

struct StreamOptions {
    bool chunked = true;  ///< ResponseWriter::chunked()
    std::size_t queue_limit_bytes = 4U << 20;
    /// Sent when nothing else was for heartbeat_ms: ": ping\n\n" for SSE, "\n" for NDJSON; empty:
    /// none.
    std::string heartbeat = ": ping\n\n";
    std::int64_t heartbeat_ms = 15'000;
    std::int64_t progress_ms =
        30'000;  ///< with something queued the client must take a byte in this time
    /// Called once on the hub's thread; must not block; may call the hub. May come before add()
    /// returns.
    std::function<void(StreamId, StreamEnd)> on_closed;
};

/// One epoll thread that owns the sockets of all event streams (ResponseWriter::detach()) and
/// writes shared, already encoded pieces to them without ever blocking. A client that is too far
/// behind is closed; it comes back with its cursor. A long backlog is better written with
/// ResponseWriter::write() before the socket is detached: pushed at once it would outgrow the queue
/// of a client that is not slow. Any thread; push() from several threads keeps each caller's order.
class StreamHub {
  public:
    static Result<std::unique_ptr<StreamHub>> create();
    ~StreamHub();  ///< closes all streams
    StreamHub(const StreamHub&) = delete;
    StreamHub& operator=(const StreamHub&) = delete;

    /// Takes over a socket whose head has been sent.
    StreamId add(os::Fd socket, StreamOptions options);
    /// Queues one piece (not empty); false if the stream has ended or is thereby ended as too slow.
    /// shared_ptr: the same bytes go to every watcher.
    bool push(StreamId id, std::shared_ptr<const std::string> piece);
    /// Ends the stream properly after everything queued.
    void finish(StreamId id);
    /// Ends it now.
    void close(StreamId id);
    std::size_t size() const;

  private:
    class Impl;
    explicit StreamHub(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::net
