#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "os/clock.h"
#include "os/socket.h"

namespace aegis::sandbox {

/// For tests: an engine that answers as it is told, byte for byte. One thread per connection.
class FakeEngine {
  public:
    /// Gets "METHOD target"; returns the bytes to send. Empty: hang until the end.
    using Answer = std::function<std::string(const std::string&)>;

    FakeEngine(const std::string& path, Answer answer) : answer_(std::move(answer)) {
        listener_ = std::move(*os::listenUnix(path, 0600));
        acceptor_ = std::thread([this] { acceptAll(); });
    }
    ~FakeEngine() {
        stop_.signal();
        acceptor_.join();
        for (auto& thread : threads_)
            thread.join();
    }
    std::vector<std::string> requests() {
        std::lock_guard lock(mutex_);
        return requests_;
    }
    int connections() const { return connections_; }

    static std::string http(int status, const std::string& body) {
        return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n" +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    static std::string version() {
        return http(200, R"({"Version":"99","ApiVersion":"1.47","MinAPIVersion":"1.24"})");
    }

  private:
    void acceptAll() {
        while (os::waitReady(listener_.get(), POLLIN, Deadline::never(), stop_.fd())) {
            auto connection = os::acceptConnection(listener_.get());
            if (!connection || !*connection) continue;
            ++connections_;
            threads_.emplace_back([this, fd = std::move(*connection)] { serve(fd.get()); });
        }
    }
    void serve(int fd) {
        std::string in;
        std::vector<char> piece(65536);
        while (true) {
            const auto end = in.find("\r\n\r\n");
            if (end == std::string::npos || in.size() < end + 4 + bodyBytes(in)) {
                const auto got = os::recvSome(fd, piece, Deadline::never(), stop_.fd());
                if (!got || *got == 0) return;
                in.append(piece.data(), *got);
                continue;
            }
            const auto first = in.substr(0, in.find(" HTTP/"));
            in.erase(0, end + 4 + bodyBytes(in));
            {
                std::lock_guard lock(mutex_);
                requests_.push_back(first);
            }
            const auto answer = answer_(first);
            if (answer.empty()) {
                (void)os::waitReady(stop_.fd(), POLLIN, Deadline::never());
                return;
            }
            const bool last = answer.ends_with("<cut>");
            const auto bytes = last ? answer.substr(0, answer.size() - 5) : answer;
            if (!os::sendAll(fd, bytes, {}, 5000, Deadline::never()) || last) return;
        }
    }
    static std::size_t bodyBytes(const std::string& head) {
        const auto at = head.find("Content-Length: ");
        return at == std::string::npos ? 0 : std::strtoul(head.c_str() + at + 16, nullptr, 10);
    }

    Answer answer_;
    os::EventFd stop_;
    os::Fd listener_;
    std::mutex mutex_;
    std::vector<std::string> requests_;
    std::atomic<int> connections_{0};
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

}  // namespace aegis::sandbox
