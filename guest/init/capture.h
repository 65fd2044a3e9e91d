#pragma once

#include <cstddef>
#include <cstdint>

#include "proto/ctl_wire.h"

namespace aegis::init {

/// Drains one output pipe of a child: the first bytes into a file up to a cap, or the last bytes
/// into memory. What goes beyond is read and counted, so that a child never blocks on it.
class Capture {
  public:
    void init(int epoll, std::uint32_t index);

    /// Makes the pipe and returns its write end for the child (close it after the spawn), -1 on
    /// failure. Takes `file`.
    int openToFile(int file, std::uint64_t cap);
    int openToTail(std::size_t limit);

    /// The pipe of a child that only waits yet: nothing is read. Then, or with the read end of a
    /// pipe that somebody else has made, it drains to `file`, which it takes. False on failure.
    int openUnread();
    void adoptUnread(int pipe);
    bool drainToFile(int file, std::uint64_t cap);

    /// Reads a bounded share of what is there. To be called when the pipe is readable.
    void ready();
    /// Reads all that is left; only once no writer is alive, else this could go on for ever.
    void drain();
    void close();

    std::uint64_t total() const { return total_; }
    bool truncated() const { return total_ > kept_; }
    /// Copies the tail, oldest byte first, to `out` (kMaxExecOutputBytes long). Returns its size.
    std::size_t tail(char* out) const;

  private:
    int open();
    bool startReading();
    bool readOnce();
    void keepInFile(const char* bytes, std::size_t size);
    void keepInTail(const char* bytes, std::size_t size);

    int epoll_ = -1;
    std::uint32_t index_ = 0;
    int pipe_ = -1;
    std::uint32_t watched_ = 0;
    int file_ = -1;
    std::uint64_t cap_ = 0;
    std::uint64_t total_ = 0;
    std::uint64_t kept_ = 0;
    std::size_t limit_ = 0;
    std::size_t next_ = 0;
    char ring_[proto::ctl::kMaxExecOutputBytes];
};

}  // namespace aegis::init
