#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "os/socket.h"

namespace aegis::sandbox {

/// One thread that waits for descriptors, timers and posted tasks, and runs their callbacks one
/// after the other. Callbacks must not block. Everything but post() and stop() belongs to that
/// thread. stop(), or the destructor, runs the tasks posted before it, then ends the thread; what
/// is posted later never runs.
class Reactor {
  public:
    using Task = std::function<void()>;
    using Token = std::uint64_t;  ///< 0 is none

    Reactor();
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    /// Runs `task` on the reactor's thread, in the order of the calls. Any thread.
    void post(Task task);
    /// Not from the reactor's own thread.
    void stop();

    /// Calls `ready` whenever `fd` is readable or hung up (level-triggered). The descriptor must
    /// stay open until forget(). A callback may forget any token, its own included.
    Token watch(int fd, Task ready);
    /// Calls `task` once when `deadline` has passed; never for Deadline::never().
    Token at(Deadline deadline, Task task);
    /// Ends a watch or a timer; 0 and what has fired are ignored.
    void forget(Token token);

  private:
    struct Watch {
        int fd;
        Task ready;
    };

    void run();
    void runPosted();
    void runTimers();
    int waitMs();

    os::Epoll epoll_;
    os::EventFd wake_;
    std::mutex mutex_;  // posted_, stopping_
    std::vector<Task> posted_;
    bool stopping_ = false;
    Token next_ = 1;
    std::unordered_map<Token, Watch> watches_;
    std::map<std::pair<BootTime, Token>, Task> timers_;
    std::unordered_map<Token, BootTime> timer_times_;
    std::thread thread_;
};

}  // namespace aegis::sandbox
