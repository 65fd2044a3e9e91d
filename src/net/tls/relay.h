#pragma once

#include <functional>
#include <memory>

#include "base/time.h"
#include "net/tls/openssl.h"
#include "os/fd.h"

namespace aegis::net::tls {

/// Moves bytes between encrypted sockets and the socket pairs whose other ends speak plain text, on
/// one epoll thread. It holds at most 16 KiB each way for a connection; who is slow slows only its
/// own. An end on one side becomes an end on the other. Any thread.
class Relay {
  public:
    struct Options {
        std::size_t max_connections = 6000;
        std::size_t max_handshakes = 512;
        std::int64_t handshake_ms = 10'000;
        std::int64_t progress_ms = 30'000;  ///< the peer must take a byte of what waits for it
        std::int64_t linger_ms = 2000;      ///< for the peer's close after ours
    };

    static Result<std::unique_ptr<Relay>> create(const OpenSsl& ssl, Options options);
    ~Relay();  ///< closes all
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    /// Called once on the relay's thread with the plain end after the handshake; must not block.
    using OnReady = std::function<void(os::Fd plain)>;
    /// Takes over an accepted socket whose session is set up for accepting. False, and the socket
    /// closed, when there are too many.
    bool accept(SessionPtr session, os::Fd socket, OnReady on_ready);
    /// Takes over a socket whose handshake is done; gives the plain end.
    Result<os::Fd> adopt(SessionPtr session, os::Fd socket);

  private:
    class Impl;
    explicit Relay(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::net::tls
