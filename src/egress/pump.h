#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "egress/message.h"
#include "os/fd.h"

namespace aegis::egress {

/// How a connection's bytes came to an end.
struct FlowEnd {
    std::uint64_t up = 0, down = 0;  ///< bytes taken from the guest and from the server
    std::string reason;              ///< empty: both sides were done
};

/// A guest's connection and the server's, checked and joined.
struct Flow {
    os::Fd guest, server;
    std::unique_ptr<Filter> up, down;  ///< none: bytes as they are, each end passed on as an end
    std::string first_up;              ///< goes to the server first, as it is
    std::uint64_t limit = 0;           ///< of the bytes in each direction
    std::int64_t idle_ms = 120'000;    ///< without a byte in either direction
    Deadline deadline;
    const void* owner = nullptr;          ///< for drop()
    std::function<void(FlowEnd)> on_end;  ///< once, on the pump's thread; must not block
};

/// Moves the bytes of any number of flows on one epoll thread, at most 16 KiB (and a head) held in
/// each direction; who is slow slows only its own. Any thread.
class Pump {
  public:
    static Result<std::unique_ptr<Pump>> create();
    ~Pump();  ///< ends all flows
    Pump(const Pump&) = delete;
    Pump& operator=(const Pump&) = delete;

    void add(Flow flow);
    /// Ends the flows of `owner` soon; does not wait.
    void drop(const void* owner);
    std::size_t flows() const;

  private:
    class Impl;
    explicit Pump(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::egress
