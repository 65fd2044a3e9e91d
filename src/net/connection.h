#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

#include "net/server.h"
#include "wire/http1.h"

/// The inside of the server: not for other rooms.
namespace aegis::net {

/// What a server knows of its connections. Every member but the constant ones is under `mutex`.
class Server::Impl {
  public:
    Impl(ServerOptions options, Handler handler, PeerKind kind);
    ~Impl();

    Status listen(os::Fd listener, std::string unix_path);
    void onAccept(os::Fd socket);
    void begin(os::Fd socket, std::string peer);
    void stop(Deadline deadline);
    std::size_t open() const;

    /// Whether a request for that path may use this connection's place.
    bool admits(const Connection& connection, std::string_view method, std::string_view path);
    bool stopping() const { return stopping_; }
    /// Takes the connection out and closes its socket; nothing of the server may be touched
    /// afterwards.
    void forget(Connection& connection);

    const ServerOptions options;
    const Handler handler;
    const PeerKind kind;
    std::uint16_t port = 0;
    mutable std::mutex mutex;

  private:
    std::size_t live() const { return connections_.size() - evicted_; }
    bool evictOne();

    os::Fd listener_;
    std::string unix_path_;
    std::uint64_t accept_id_ = 0;
    std::condition_variable changed_;
    std::unordered_set<Connection*> connections_;
    std::size_t evicted_ = 0;  ///< of connections_, told to close
    std::atomic<bool> stopping_ = false;
    bool stopped_ = false;
};

/// One accepted socket and the thread that serves it.
class Connection {
  public:
    Connection(Server::Impl& server, os::Fd socket, std::string peer);

    /// Serves requests until the connection is over.
    void run();

    // For the server, under its mutex.
    /// kFresh: nothing has come yet; kHead: part of a head; kReading: the rest of the request;
    /// kLingering: the last answer is out.
    enum class Phase : std::uint8_t { kFresh, kIdle, kHead, kReading, kHandling, kLingering };
    Phase phase = Phase::kFresh;
    BootTime since;  ///< of the phase
    bool evicted = false;
    bool in_reserve = false;
    os::Fd socket;

    // For the ResponseWriter, on the connection's thread.
    Server::Impl& server() { return server_; }
    bool keepAlive() const;
    bool requestIsHead() const { return head_.method == "HEAD"; }
    int minorVersion() const { return head_.minor_version; }

  private:
    struct Refusal {
        int status = 0;  ///< 0: close without a word
        ErrorCode code = ErrorCode::kInvalid;
        std::string message;
    };
    using Step = std::optional<Refusal>;  ///< nothing: go on

    bool serveOne();
    Step readHead();
    Step readBody(Request& request);
    Step checkExpect(bool has_body);
    Step receive(Deadline deadline);
    Step admit(Request& request);
    bool answer(const Request& request);
    void refuse(const Refusal& refusal);
    void tell(Answered answered);
    void drain();
    void setPhase(Phase next);

    Server::Impl& server_;
    std::vector<char> scratch_;
    std::string buffer_;  ///< received, not yet consumed
    wire::RequestHead head_;
    std::string path_;
    std::string peer_;  ///< asked for once: the socket may be gone when it is told, or not its own
    std::optional<os::PeerCred> cred_;  ///< of whoever connected: the same for each request
    BootTime head_at_;
    bool has_head_ = false;  ///< head_ is that of the request under way
    std::size_t requests_ = 0;
    bool lingering_ = false;
};

/// The JSON body of an error answer.
std::string errorBody(ErrorCode code, std::string_view message);

}  // namespace aegis::net
