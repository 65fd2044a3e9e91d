// A model provider that answers at once, or never if it is asked to "hold on". Speaks what the
// daemon's `openai` provider expects, streaming. Prints its port; ends with its standard input.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <map>

#include "http.h"

namespace aegis::bench {
namespace {

std::string chunk(const std::string& data) {
    std::array<char, 16> size{};
    std::snprintf(size.data(), size.size(), "%zx\r\n", data.size());
    return size.data() + data + "\r\n";
}

std::string answer() {
    const std::string choice = R"(data: {"id":"c","object":"chat.completion.chunk","model":"m",)"
                               R"("choices":[{"index":0,"delta":)";
    return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
           "Transfer-Encoding: chunked\r\n\r\n" +
           chunk(choice + R"({"role":"assistant","content":"Hello"},"finish_reason":null}]})"
                 "\n\n") +
           chunk(choice + R"({"content":" world"},"finish_reason":null}]})"
                 "\n\n") +
           chunk(choice + R"({},"finish_reason":"stop"}]})"
                 "\n\n" R"(data: {"id":"c","object":"chat.completion.chunk","model":"m",)"
                 R"("choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}})"
                 "\n\ndata: [DONE]\n\n") +
           "0\r\n\r\n";
}

class Model {
  public:
    int serve();

  private:
    void listen();
    void watch(int fd) const;
    void accept();
    void read(int fd);

    const std::string answer_ = answer();
    int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    int listener_ = -1;
    std::map<int, std::string> connections_;
};

void Model::listen() {
    constexpr int kBacklog = 4096;
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, kBacklog) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        die("listen");
    std::printf("%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
}

void Model::watch(int fd) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

void Model::accept() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) die("accept");
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections_[fd];
    watch(fd);
}

void Model::read(int fd) {
    std::array<char, 65536> piece;  // NOLINT: filled by recv
    const auto n = ::recv(fd, piece.data(), piece.size(), 0);
    if (n <= 0) {
        connections_.erase(fd);
        ::close(fd);
        return;
    }
    auto& buffer = connections_[fd];
    buffer.append(piece.data(), static_cast<std::size_t>(n));
    while (const auto size = messageSize(buffer)) {
        const bool holds = buffer.substr(0, size).find("hold on") != buffer.npos;
        buffer.erase(0, size);
        if (!holds && ::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL) < 0) return;
    }
}

int Model::serve() {
    listen();
    watch(listener_);
    watch(STDIN_FILENO);
    std::array<epoll_event, 256> events{};
    while (true) {
        const int n = ::epoll_wait(epoll_, events.data(), events.size(), -1);
        for (int i = 0; i < n; ++i) {
            const int fd = events[static_cast<std::size_t>(i)].data.fd;
            if (fd == STDIN_FILENO) return 0;
            if (fd == listener_)
                accept();
            else
                read(fd);
        }
    }
}

}  // namespace
}  // namespace aegis::bench

int main() { return aegis::bench::Model().serve(); }
