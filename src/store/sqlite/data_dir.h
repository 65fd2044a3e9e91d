#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::store {

/// Exclusive use of a data directory: flock(2) on data_dir/lock, which holds the owner's pid.
/// Released by the kernel when the process ends, however it ends.
class DirLock {
  public:
    /// kConflict, naming the pid, when another process has it.
    static Result<DirLock> acquire(const std::string& data_dir);

  private:
    os::Fd fd_;
};

/// The preallocated file that is given up when the disk is full, so that what runs can end; without
/// it nothing new is accepted. Safe on any thread.
class Reserve {
  public:
    Reserve(std::string data_dir, std::uint64_t bytes);

    /// Makes it if it is missing and there is room beyond it. Whether it is there now.
    bool make();
    /// Gives it up. Whether there was one.
    bool release();
    bool held() const;
    /// kStorageFull when something new must not be begun: the reserve is gone, or less than 1 MiB
    /// is free beyond it.
    Status roomForNew() const;

  private:
    std::uint64_t freeBytes() const;

    const std::string dir_;
    const std::string path_;
    const std::uint64_t bytes_;
    mutable std::mutex mutex_;
    bool held_ = false;
};

/// The error that a client sees while the disk is full.
Error storageFull();

}  // namespace aegis::store
