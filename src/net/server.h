#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "net/acceptor.h"
#include "os/fd.h"
#include "os/socket.h"
#include "wire/headers.h"
#include "wire/target.h"

/// A small blocking HTTP/1.1 server: one thread per open connection, taken from the acceptor's
/// pool.
namespace aegis::net {

enum class PeerKind : std::uint8_t { kTcp, kUnix };

struct Peer {
    PeerKind kind = PeerKind::kTcp;
    os::PeerCred cred;    ///< of kUnix
    std::string address;  ///< "127.0.0.1:4242" or "unix", for the log
};

/// One whole request. `body` is at most what ServerOptions::body_limit allowed.
struct Request {
    std::string method;
    std::string path;    ///< decoded and normalised (wire/target.h)
    std::string target;  ///< as sent
    wire::Query query;
    wire::Headers headers;
    std::string body;
    Peer peer;
    bool head() const { return method == "HEAD"; }
};

class Connection;

/// Answers one request, once: either send(), or begin(), write() and end(). Used on the handler's
/// thread, and only until the handler returns. HEAD and 204/304 suppress bodies by themselves.
class ResponseWriter {
  public:
    explicit ResponseWriter(Connection& connection) : connection_(connection) {}
    ResponseWriter(const ResponseWriter&) = delete;
    ResponseWriter& operator=(const ResponseWriter&) = delete;

    /// A whole answer. Content-Length, Date and Connection are set here. Errors are kIo (the client
    /// is gone) and kTimeout (it takes nothing); a handler may ignore them. Interim 1xx are not for
    /// sending.
    Status send(int status, wire::Headers headers, std::string_view body);
    /// The same with `Content-Type: application/json`.
    Status sendJson(int status, std::string_view json);
    /// {"error":{"code","message","details":[]}} with the code's status (base/error.h).
    Status sendError(ErrorCode code, std::string_view message);

    /// Sends the head of a streamed answer: chunked, or until close for HTTP/1.0. With it goes the
    /// first piece, if there is one already: each packet costs its reader a turn.
    Status begin(int status, wire::Headers headers, std::string_view first = {});
    /// One flushed piece. Waits while the client takes at least a byte every write_progress_ms.
    Status write(std::string_view bytes);
    /// The proper end, behind a last piece. A handler that returns after begin() without end() cuts
    /// the answer: the client sees a broken body, as it should when something failed half-way.
    Status end(std::string_view last = {});

    /// While it is on nothing that is sent waits for the client; what it does not take goes before
    /// the next piece that may wait, or by flush(). Another thread may send then, while the
    /// handler's waits for it.
    void setPrompt(bool on) { prompt_ = on; }
    bool hasUnsent() const { return !unsent_.empty(); }
    Status flush();

    /// Whether the client has closed, half-closed or reset. Never waits.
    bool clientGone() const;
    /// Polls readable or hung up when clientGone() may have changed; for waiting on it with others.
    int socket() const;

    /// After begin(): hands the socket (non-blocking, still open) to someone else, an event stream.
    /// The connection no longer counts for the server and stop() does not touch it; write() and
    /// end() are no longer allowed. Empty if the client is to get no body (HEAD): then just return.
    os::Fd detach();
    /// After begin(): whether pieces must be sent as chunks (false: HTTP/1.0, until close).
    bool chunked() const { return chunked_; }
    bool begun() const { return phase_ != Phase::kNone; }

    /// What ServerOptions::on_answered is told beside what the server knows itself: which route
    /// took the request, and who asked.
    void describe(std::string route, std::string principal) {
        route_ = std::move(route);
        principal_ = std::move(principal);
    }
    int status() const { return status_; }  ///< 0: nothing has been sent

  private:
    friend class Connection;
    enum class Phase : std::uint8_t { kNone, kStreaming, kDone, kFailed, kDetached };
    Status sendHead(int status, wire::Headers& headers, std::string_view body, bool has_body);
    Status transmit(std::string_view head, std::string_view body);
    Status transmitPromptly(std::string_view head, std::string_view body);
    std::string framed(std::string_view piece);

    Connection& connection_;
    Phase phase_ = Phase::kNone;
    bool chunked_ = false;
    bool bodiless_ = false;
    bool keep_alive_ = false;
    bool prompt_ = false;
    std::string unsent_;
    int status_ = 0;
    std::uint64_t body_bytes_ = 0;
    std::string route_;
    std::string principal_;
};

/// One request that was answered or refused, for a log and for metrics. `path` is decoded and
/// without its query; it and `method` are empty if the head could not be read. A stream counts when
/// its socket is handed on.
struct Answered {
    std::string_view method;
    std::string_view path;
    std::string_view route;      ///< ResponseWriter::describe(); empty: none did
    std::string_view principal;  ///< the same
    std::string_view peer;
    int status = 0;
    std::uint64_t bytes = 0;  ///< of the answer's body
    std::int64_t us = 0;      ///< from the whole head to the answer's last byte
};

/// Called on many threads at once. Whatever it throws becomes a 500. It must come back soon after
/// clientGone() turns true or a write fails: stop() waits for it.
using Handler = std::function<void(const Request&, ResponseWriter&)>;

struct ServerOptions {
    std::string name = "http";  ///< for the log
    std::size_t max_connections = 256;
    /// Of these, kept for requests that `reserved_path` accepts; the others get 503 when only they
    /// are left.
    std::size_t reserved_connections = 0;
    std::function<bool(std::string_view method, std::string_view path)> reserved_path;

    std::size_t header_limit_bytes = 32U << 10;  ///< 431 beyond
    /// Bytes of body that a request may have, 413 beyond; not set: 1 MiB.
    std::function<std::uint64_t(std::string_view method, std::string_view path)> body_limit;
    std::int64_t header_time_ms = 10'000;     ///< first byte of a head to its last; 408 beyond
    std::int64_t body_time_ms = 60'000;       ///< 408 beyond
    std::int64_t idle_time_ms = 60'000;       ///< between requests
    std::int64_t write_progress_ms = 30'000;  ///< the client must take at least a byte in this time
    std::size_t max_requests = 100'000;       ///< on one connection, then it is closed
    /// Set: accepted sockets go through it, and what it makes of each (the plain end of a TLS
    /// connection) is served. Called on the accepting thread, `ready` on any; neither blocks. It
    /// must not call `ready` any more when the server is destroyed.
    std::function<void(os::Fd accepted, std::function<void(os::Fd plain)> ready)> secure;
    /// Called on the connection's thread after each answer and refusal; must not block.
    std::function<void(const Answered&)> on_answered;

    /// The body of a refusal by the server itself of a request for `path` (empty: it is not known);
    /// not set, or an empty body: {"error":{"code","message","details":[]}}.
    std::function<std::string(std::string_view path, const Error& error)> refusal_body;

    /// Shared by many servers; not set: the server makes its own. shared_ptr because servers come
    /// and go in any order and the last one ends the threads.
    std::shared_ptr<Acceptor> acceptor;
};

/// A listening server. Serves from its creation until stop() or its destruction. Requests that the
/// server itself refuses get 400, 408, 413, 414, 417, 431, 501, 503 or 505 with the JSON error
/// body. Any thread.
class Server {
  public:
    /// `address` numeric or a name; port 0 picks a free one. kConflict if it is taken.
    static Result<std::unique_ptr<Server>> listenTcp(const std::string& address, std::uint16_t port,
                                                     ServerOptions options, Handler handler);
    /// See os::listenUnix for stale files; the file is removed at the end.
    static Result<std::unique_ptr<Server>> listenUnix(const std::string& path, unsigned mode,
                                                      ServerOptions options, Handler handler);
    ~Server();  ///< stop() with a deadline of now
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    std::uint16_t port() const;  ///< 0 for a unix socket
    std::size_t connections() const;

    /// Stops accepting, closes connections between requests, waits for running handlers until the
    /// deadline, then shuts their sockets down and waits for them to come back. Later calls do
    /// nothing.
    void stop(Deadline deadline);

  private:
    friend class Connection;
    class Impl;
    explicit Server(std::unique_ptr<Impl> impl);
    static Result<std::unique_ptr<Server>> serve(PeerKind kind, os::Fd listener, std::string path,
                                                 ServerOptions options, Handler handler);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::net
