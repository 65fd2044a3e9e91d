#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/ctl_wire.h"

namespace aegis::init {

/// One message of the daemon's; the text points into the control's buffer until the next receive().
/// The receiver takes the descriptors it wants by setting them to -1; the rest are closed.
struct Received {
    std::string_view bytes;
    int fds[proto::ctl::kMaxFds];
    std::size_t fd_count;
};

/// The connection to ctl.sock: connects, and again with a growing delay whenever it is lost.
class Control {
  public:
    void init(int epoll, const char* dir);

    bool connected() const { return fd_ >= 0; }
    /// Connects if it is time. True when a connection has just been made.
    bool tick(std::int64_t now);
    /// When tick() has something to do; INT64_MAX while connected.
    std::int64_t nextTry() const;

    /// Takes one message. False when there is none now, or the connection was lost.
    bool receive(Received& out);
    static void closeFds(Received& received);

    /// Sends one finished message, waiting up to 5 s for a slow daemon; drops the connection on
    /// failure.
    void send(const char* bytes, std::size_t size);
    void drop();

  private:
    int epoll_ = -1;
    const char* dir_ = nullptr;
    int fd_ = -1;
    std::uint32_t watched_ = 0;
    std::int64_t retry_at_ = 0;
    std::int64_t delay_ms_ = 0;
    char buffer_[proto::ctl::kMaxMessageBytes];
};

}  // namespace aegis::init
