#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::net {

/// One epoll thread that accepts for any number of listening sockets, and the pool of threads that
/// serve their connections. Threads are made when needed, have small stacks, and idle ones are kept
/// for reuse. Must outlive (by shared_ptr) the servers on it. Any thread, except that nothing here
/// may be called from within a callback of the same acceptor.
class Acceptor {
  public:
    struct Options {
        std::size_t max_threads = 4096;
        std::size_t max_idle_threads = 32;
        std::size_t stack_bytes = 256U << 10;  ///< four times that under a sanitizer
    };

    static Result<std::shared_ptr<Acceptor>> create();
    static Result<std::shared_ptr<Acceptor>> create(Options options);
    ~Acceptor();  ///< waits for the pool's running tasks
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

    /// Called on the epoll thread with each accepted connection; must not block.
    using OnAccept = std::function<void(os::Fd connection)>;
    /// Starts accepting on a listening socket, which must stay open until remove().
    Result<std::uint64_t> add(int listen_fd, OnAccept on_accept);
    /// When it returns, no callback of that socket is running or will run.
    void remove(std::uint64_t id);

    /// Runs `task` on a thread of the pool; false if there are max_threads already or none can be
    /// made.
    bool run(std::function<void()> task);
    std::size_t threads() const;

  private:
    class Impl;
    explicit Acceptor(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::net
