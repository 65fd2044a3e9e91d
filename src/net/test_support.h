#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <string_view>

#include "net/http_client.h"
#include "net/server.h"
#include "os/clock.h"

/// For the tests of this room.
namespace aegis::net {

inline Deadline soon(std::int64_t ms = 20'000) {
    return Deadline::in(os::systemClock().boot(), ms);
}

/// A client that sends exactly the bytes it is told to.
class RawClient {
  public:
    explicit RawClient(std::uint16_t port) {
        auto fd = os::connectTcp("127.0.0.1", port, soon());
        EXPECT_TRUE(fd) << fd.error().message;
        if (fd) fd_ = std::move(*fd);
    }

    void send(std::string_view bytes) {
        EXPECT_TRUE(os::sendAll(fd_.get(), bytes, {}, 20'000, soon()));
    }
    /// Everything until the server closes (or resets).
    std::string readToEnd() {
        while (more()) {
        }
        return std::move(received_);
    }
    /// Until `text` has come, or the end.
    std::string readUntil(std::string_view text) {
        while (received_.find(text) == std::string::npos && more()) {
        }
        return received_;
    }
    std::string& received() { return received_; }
    void halfClose() { ::shutdown(fd_.get(), SHUT_WR); }
    void close() { fd_.reset(); }
    void reset() {
        linger hard{1, 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        fd_.reset();
    }
    int fd() const { return fd_.get(); }

  private:
    bool more() {
        std::array<char, 4096> chunk;
        auto n = os::recvSome(fd_.get(), chunk, soon());
        EXPECT_TRUE(n || n.error().code != ErrorCode::kTimeout) << "the server says nothing";
        if (!n || *n == 0) return false;
        received_.append(chunk.data(), *n);
        return true;
    }

    os::Fd fd_;
    std::string received_;
};

inline std::unique_ptr<Server> serveOn(Handler handler, ServerOptions options = {}) {
    auto server = Server::listenTcp("127.0.0.1", 0, std::move(options), std::move(handler));
    EXPECT_TRUE(server) << server.error().message;
    return server ? std::move(*server) : nullptr;
}

inline Endpoint endpointOf(const Server& server) {
    Endpoint endpoint;
    endpoint.host = "127.0.0.1";
    endpoint.port = server.port();
    return endpoint;
}

/// Says what it was asked.
inline void echo(const Request& request, ResponseWriter& writer) {
    std::string text = request.method + " " + request.path + " " + request.body;
    (void)writer.send(200, {{"Content-Type", "text/plain"}}, text);
}

}  // namespace aegis::net
