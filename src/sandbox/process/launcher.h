#pragma once

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"
#include "proto/launch.h"

namespace aegis::sandbox {

/// The daemon's end of `aegis launcher` (src/launcher): starts it, starts it anew when it has died,
/// and asks it for processes, one after the other. It ends with its owner. Any thread; calls block.
class Launcher {
  public:
    /// `command`: what to execute, an absolute path and arguments. `filter`: see seccomp_filter.h.
    Launcher(std::vector<std::string> command, std::string filter);
    ~Launcher();
    Launcher(const Launcher&) = delete;
    Launcher& operator=(const Launcher&) = delete;

    struct Child {
        os::Fd pidfd;
        pid_t pid = 0;
    };
    /// `fds` as Spawn says. kUnavailable when the launcher cannot be had, kUnsupported what it says
    /// of the kernel.
    Result<Child> spawn(proto::launch::Spawn spawn, std::span<const int> fds, Deadline deadline);

    /// The same for a template.
    Result<Child> spawnTemplate(proto::launch::SpawnTemplate spawn, std::span<const int> fds,
                                Deadline deadline);
    /// Writes the id maps of a stem of the template behind this pidfd.
    Status mapStem(int template_pidfd, pid_t stem, std::uint32_t door, Deadline deadline);

    /// Of the launcher that runs; starts one. 0: the kernel has no Landlock.
    Result<std::uint32_t> landlockAbi(Deadline deadline);

  private:
    struct Answer {
        proto::launch::Reply reply;
        std::vector<os::Fd> fds;
    };
    template <class Request>
    Result<Answer> converse(Request request, std::span<const int> fds, Deadline deadline);
    template <class Request>
    Result<Child> makeChild(Request request, std::span<const int> fds, Deadline deadline);
    Error unasked();
    Status ensureRunning(Deadline deadline);
    Status startProcess();
    Result<Answer> ask(const proto::launch::Request& request, std::span<const int> fds,
                       Deadline deadline);
    void end();

    const std::vector<std::string> command_;
    const std::string filter_;
    std::mutex mutex_;  // held during a conversation
    os::Fd socket_;
    pid_t pid_ = -1;
    std::uint64_t token_ = 0;
    std::uint32_t landlock_abi_ = 0;
};

}  // namespace aegis::sandbox
