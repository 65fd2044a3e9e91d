#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/time.h"
#include "egress/policy.h"
#include "os/fd.h"
#include "os/worker_pool.h"

namespace aegis::egress {

/// Names into addresses. Any thread.
class Resolver {
  public:
    virtual ~Resolver() = default;
    /// In the order in which they are to be tried; never empty. kUnreachable, kTimeout, kCancelled
    /// (`cancel_fd` is readable).
    virtual Result<std::vector<IpAddress>> resolve(const std::string& name, Deadline deadline,
                                                   int cancel_fd) = 0;
};

/// The host's own resolver, getaddrinfo(3), on a bounded pool: it cannot be interrupted, so whoever
/// waits leaves at the deadline and the thread stays until it comes back. The pool is made when
/// first needed.
class SystemResolver : public Resolver {
  public:
    Result<std::vector<IpAddress>> resolve(const std::string& name, Deadline deadline,
                                           int cancel_fd) override;

  private:
    std::once_flag made_;
    std::unique_ptr<os::WorkerPool> pool_;
};

struct Dialed {
    os::Fd fd;  ///< connected, non-blocking
    IpAddress address;
};

/// The only connect(2) that is made for a guest. Any thread; blocks.
class Dialer {
  public:
    /// `resolver` must outlive it.
    Dialer(Resolver& resolver, PrivateAccess access)
        : resolver_(resolver), access_(std::move(access)) {}

    /// The addresses of `to`, every one of them checked: a name with one forbidden address is
    /// refused whole (kPermissionDenied, whose message is the reason), or its owner could choose
    /// which is used.
    Result<std::vector<IpAddress>> check(const Policy& policy, const Authority& to,
                                         Deadline deadline, int cancel_fd = -1);

    /// check(), then connects to one of exactly these addresses. kPermissionDenied, kUnreachable,
    /// kTimeout, kCancelled.
    Result<Dialed> dial(const Policy& policy, const Authority& to, Deadline deadline,
                        int cancel_fd = -1);

  private:
    Resolver& resolver_;
    const PrivateAccess access_;
};

}  // namespace aegis::egress
