#pragma once

#include <memory>
#include <string>

#include "net/http_client.h"

namespace aegis::net::tls {

/// The client's side of TLS: an HttpConnection's connector. The server's certificate must be valid
/// for the endpoint's host and signed by an authority of `ca_file` (PEM) or, if that is empty, of
/// the system. Must outlive the connections made through it. One thread but for its own.
class Tunnel {
  public:
    static Result<std::unique_ptr<Tunnel>> create(const std::string& ca_file);
    ~Tunnel();
    Tunnel(const Tunnel&) = delete;
    Tunnel& operator=(const Tunnel&) = delete;

    /// kUnreachable when there is no connection or its certificate is not good.
    Result<os::Fd> connect(const Endpoint& endpoint, Deadline deadline, int cancel_fd);

  private:
    class Impl;
    explicit Tunnel(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::net::tls
