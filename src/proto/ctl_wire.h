#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

/// The bytes of the control protocol, for both ends: the daemon (proto/ctl.h) and the sandbox's PID
/// 1, which is linked without a C++ library. Hence no allocation, no exception, no std container
/// here.
namespace aegis::proto::ctl {

inline constexpr std::uint8_t kVersion = 1;

/// One message is one datagram of a SOCK_SEQPACKET socket, at most this long. Below the default
/// send buffer of unix sockets (208 KiB), so that it always goes in one piece.
inline constexpr std::size_t kMaxMessageBytes = 144 * 1024;
/// All of argv together; a longer prompt goes through stdin (the kernel takes 128 KiB an argument).
inline constexpr std::size_t kMaxArgvBytes = 96 * 1024;
inline constexpr std::size_t kMaxArgs = 512;
inline constexpr std::size_t kMaxEnv = 512;
/// What `exec_done` carries at most of each stream.
inline constexpr std::size_t kMaxExecOutputBytes = 32 * 1024;
inline constexpr std::size_t kMaxErrorBytes = 512;
/// Descriptors with one message: stdout, stderr, stdin.
inline constexpr std::size_t kMaxFds = 3;

/// Where the guest serves the daemon's sockets if the ports are free, which they are in a fresh
/// network namespace. `hello` says what it got.
inline constexpr std::uint16_t kApiPort = 7411;
inline constexpr std::uint16_t kProxyPort = 7412;

enum class Type : std::uint8_t {
    kStart = 1,
    kExec = 2,
    kKillAll = 3,
    kShutdown = 4,
    kPrepare = 5,
    kHello = 64,
    kStarted = 65,
    kStartFailed = 66,
    kExited = 67,
    kExecDone = 68,
    kKilled = 69,
};

/// A payload that waits finds the socket of its job here. The job is one datagram: the working
/// directory, the last argument of `start`, then its environment, each ended by a NUL but for the
/// last; if there is a stdin, its descriptor travels with it.
inline constexpr int kJobFd = 3;

/// What the payload has come to, as `hello` tells it.
enum class State : std::uint8_t { kIdle = 0, kRunning = 1, kEnded = 2 };

/// Appends little-endian fields to a caller's buffer; ok() turns false, and stays so, on overflow.
class WireWriter {
  public:
    WireWriter(char* buffer, std::size_t capacity) : buffer_(buffer), capacity_(capacity) {}

    template <class Int>
    void integer(Int value) {
        char bytes[sizeof(Int)];
        for (std::size_t i = 0; i < sizeof(Int); ++i)
            bytes[i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
        raw(bytes, sizeof(Int));
    }
    void string(const char* data, std::size_t size) {
        integer(static_cast<std::uint32_t>(size));
        raw(data, size);
    }
    void string(std::string_view text) { string(text.data(), text.size()); }

    bool ok() const { return ok_; }
    std::size_t size() const { return size_; }

  private:
    void raw(const char* data, std::size_t size) {
        if (!ok_ || size > capacity_ - size_) {
            ok_ = false;
            return;
        }
        if (size > 0) std::memcpy(buffer_ + size_, data, size);
        size_ += size;
    }

    char* buffer_;
    std::size_t capacity_;
    std::size_t size_ = 0;
    bool ok_ = true;
};

/// Takes fields off a message; ok() turns false, and stays so, when one is not whole. Views point
/// into the message.
class WireReader {
  public:
    explicit WireReader(std::string_view message) : data_(message.data()), left_(message.size()) {}

    template <class Int>
    Int integer() {
        if (!ok_ || left_ < sizeof(Int)) {
            ok_ = false;
            return 0;
        }
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(Int); ++i)
            value |= static_cast<std::uint64_t>(static_cast<unsigned char>(data_[i])) << (8 * i);
        data_ += sizeof(Int);
        left_ -= sizeof(Int);
        return static_cast<Int>(value);
    }
    std::string_view string(std::size_t limit) {
        const auto size = integer<std::uint32_t>();
        if (!ok_ || size > limit || size > left_) {
            ok_ = false;
            return {};
        }
        const std::string_view text(data_, size);
        data_ += size;
        left_ -= size;
        return text;
    }

    bool ok() const { return ok_; }
    /// Every byte was taken and none was missing.
    bool done() const { return ok_ && left_ == 0; }

  private:
    const char* data_;
    std::size_t left_;
    bool ok_ = true;
};

}  // namespace aegis::proto::ctl
