#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::net::tls {

/// The daemon's side of TLS: goes into ServerOptions::secure. Destroy it before the servers that
/// use it. Any thread.
class Terminator {
  public:
    /// PEM files: the certificate with its chain, and its key without a password. kInvalid, naming
    /// the file, when they cannot be read or do not belong together.
    static Result<std::unique_ptr<Terminator>> create(const std::string& cert_file,
                                                      const std::string& key_file);
    ~Terminator();  ///< closes what goes through it
    Terminator(const Terminator&) = delete;
    Terminator& operator=(const Terminator&) = delete;

    /// What create() and reload() would say.
    static Status check(const std::string& cert_file, const std::string& key_file);
    /// For handshakes from now on; the old ones stay if it fails.
    Status reload(const std::string& cert_file, const std::string& key_file);

    /// Shakes hands and calls `ready` with the plain end; closes the socket if that fails.
    void accept(os::Fd accepted, std::function<void(os::Fd plain)> ready);

  private:
    class Impl;
    explicit Terminator(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::net::tls
