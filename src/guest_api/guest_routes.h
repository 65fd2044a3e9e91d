#pragma once

#include <memory>
#include <string>

#include "net/server.h"
#include "ports/sandbox.h"
#include "runner/runner.h"

namespace aegis::guest_api {

/// Serves the guests' sockets. Outlives every listener it made; safe on any thread.
class GuestRoutes {
  public:
    /// `acceptor` is shared by all sockets: sandboxes come and go, its threads stay.
    GuestRoutes(runner::Runner& runner, Clock& clock, std::shared_ptr<net::Acceptor> acceptor)
        : runner_(runner), clock_(clock), acceptor_(std::move(acceptor)) {}

    /// Listens at `socket_path` (mode 0666, inside a directory that others cannot enter), at most
    /// 16 connections, until the listener is destroyed.
    Result<std::unique_ptr<ports::GuestListener>> listen(const std::string& socket_path);

    /// One request of the guest `id` that is not in another API's format.
    void handle(const ports::SandboxId& id, const net::Request& request,
                net::ResponseWriter& writer);

  private:
    void stream(const runner::GuestCallPtr& call, net::ResponseWriter& writer);
    void single(const runner::GuestCallPtr& call, net::ResponseWriter& writer);

    runner::Runner& runner_;
    Clock& clock_;
    std::shared_ptr<net::Acceptor> acceptor_;  ///< shared with the daemon's other servers
};

}  // namespace aegis::guest_api
