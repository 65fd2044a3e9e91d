#pragma once

#include <memory>
#include <string>
#include <vector>

#include "egress/dialer.h"
#include "net/acceptor.h"
#include "ports/egress.h"

namespace aegis::egress {

struct ProxyOptions {
    std::vector<std::string> allow_private;          ///< as PrivateAccess::parse() takes them
    std::uint64_t max_response_bytes = 104'857'600;  ///< in each direction of a connection
    std::size_t max_connections = 64;                ///< of one sandbox; more are closed at once
    std::size_t max_setups = 8;  ///< of one sandbox that may wait on a thread; more wait their turn
    std::size_t max_threads = 512;
    std::int64_t head_ms = 10'000;  ///< for a request's head, and for a ClientHello
    std::int64_t dial_ms = 15'000;
    std::int64_t idle_ms = 120'000;
    std::int64_t longest_ms = 3'600'000;
};

/// The only way out of the sandboxes: an HTTP proxy (CONNECT for TLS, absolute targets for plain
/// HTTP) on each one's proxy.sock, whose policy is the sandbox's. A connection is judged on a
/// thread of a bounded pool, then handed to the pump. A CONNECT is answered and then held until its
/// ClientHello names the host that was asked for; nothing reaches the server before. Any thread.
class Proxy {
  public:
    /// `sink` outlives it, or stop() comes first. kInvalid for what allow_private cannot be.
    static Result<std::unique_ptr<Proxy>> create(std::unique_ptr<Resolver> resolver,
                                                 ports::EgressSink& sink,
                                                 std::shared_ptr<net::Acceptor> acceptor,
                                                 ProxyOptions options);
    ~Proxy();  ///< stop()
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    /// Serves a sandbox at `socket_path` until the listener is destroyed, which ends its
    /// connections.
    Result<std::unique_ptr<ports::GuestListener>> listen(const std::string& socket_path);
    /// listen() at the proxy.sock beside `other_socket`; the result ends `other` as well.
    Result<std::unique_ptr<ports::GuestListener>> beside(
        std::unique_ptr<ports::GuestListener> other, const std::string& other_socket);
    /// Ends all connections and threads; what connects later is closed. Repeatable.
    void stop();

  private:
    class Impl;
    explicit Proxy(std::shared_ptr<Impl> impl);
    /// Shared with the listeners, which may outlast it.
    std::shared_ptr<Impl> impl_;
};

}  // namespace aegis::egress
