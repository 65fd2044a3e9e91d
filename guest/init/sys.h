#pragma once

#include <cstddef>
#include <cstdint>

/// The few things every part of PID 1 needs. No C++ library is linked here: no allocation, no
/// exception, plain descriptors. One thread.
namespace aegis::init {

/// What an epoll event is about; the upper half of its tag, the lower half is an index.
enum class Source : std::uint32_t { kSignal, kControl, kCapture, kListener, kRelay };

/// Text in a buffer of fixed size, always ended by a NUL; what does not fit is left out.
class Text {
  public:
    Text(char* out, std::size_t capacity);
    Text& add(const char* text, std::size_t most = SIZE_MAX);
    bool whole() const { return whole_; }

  private:
    char* out_;
    std::size_t room_;  ///< without the NUL
    bool whole_ = true;
};

/// A number's decimal digits; 0 for what is none.
int toNumber(const char* text);

/// Milliseconds on the boot clock.
std::int64_t nowMs();

/// Registers, changes or (with no events) removes `fd` in the loop; `*current` holds what it is
/// registered for. False when the kernel refuses.
bool watch(int epoll, int fd, Source source, std::uint32_t index, std::uint32_t events,
           std::uint32_t* current);

/// Closes *fd if it is open and sets it to -1.
void closeFd(int* fd);

/// Fills a sockaddr_un with "<dir>/<name>" and connects without blocking. -1 and errno on failure.
int connectUnix(const char* dir, const char* name, int type);

/// One datagram, with a descriptor unless `fd` is -1; does not wait. False when it did not go.
bool sendWithFd(int socket, const char* bytes, std::size_t size, int fd);

/// Brings the loopback interface up, where the runtime has not. Failure is left to bind() to tell.
void raiseLoopback();

}  // namespace aegis::init
