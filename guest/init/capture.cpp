#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "sys.h"

namespace aegis::init {
namespace {

char g_chunk[64 * 1024];

}  // namespace

void Capture::init(int epoll, std::uint32_t index) {
    epoll_ = epoll;
    index_ = index;
}

int Capture::openUnread() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    adoptUnread(ends[0]);
    return ends[1];
}

void Capture::adoptUnread(int pipe) {
    close();
    total_ = kept_ = 0;
    next_ = 0;
    limit_ = 0;
    pipe_ = pipe;
    fcntl(pipe_, F_SETFL, O_NONBLOCK);
    fcntl(pipe_, F_SETFD, FD_CLOEXEC);
}

bool Capture::startReading() {
    if (watch(epoll_, pipe_, Source::kCapture, index_, EPOLLIN, &watched_)) return true;
    close();
    return false;
}

int Capture::open() {
    int end = openUnread();
    if (end >= 0 && !startReading()) closeFd(&end);
    return end;
}

bool Capture::drainToFile(int file, std::uint64_t cap) {
    file_ = file;
    cap_ = cap;
    return startReading();
}

int Capture::openToFile(int file, std::uint64_t cap) {
    const int end = open();
    file_ = file;
    cap_ = cap;
    return end;
}

int Capture::openToTail(std::size_t limit) {
    const int end = open();
    limit_ = limit;
    return end;
}

bool Capture::readOnce() {
    const ssize_t n = read(pipe_, g_chunk, sizeof g_chunk);
    if (n < 0) return errno == EINTR;
    if (n == 0) {
        if (watched_ != 0) watch(epoll_, pipe_, Source::kCapture, index_, 0, &watched_);
        return false;
    }
    const auto size = static_cast<std::size_t>(n);
    total_ += size;
    if (file_ >= 0)
        keepInFile(g_chunk, size);
    else
        keepInTail(g_chunk, size);
    return true;
}

void Capture::ready() {
    for (int i = 0; i < 8 && pipe_ >= 0; ++i)
        if (!readOnce()) return;
}

void Capture::drain() {
    while (pipe_ >= 0 && readOnce()) {
    }
}

void Capture::keepInFile(const char* bytes, std::size_t size) {
    const std::uint64_t room = cap_ - kept_;
    std::size_t left = size < room ? size : static_cast<std::size_t>(room);
    while (left > 0) {
        const ssize_t n = write(file_, bytes, left);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            // A full disk ends the keeping, not the payload.
            cap_ = kept_;
            return;
        }
        bytes += n;
        left -= static_cast<std::size_t>(n);
        kept_ += static_cast<std::uint64_t>(n);
    }
}

void Capture::keepInTail(const char* bytes, std::size_t size) {
    if (limit_ == 0) return;
    if (size > limit_) {
        bytes += size - limit_;
        size = limit_;
    }
    const std::size_t first = size < limit_ - next_ ? size : limit_ - next_;
    memcpy(ring_ + next_, bytes, first);
    memcpy(ring_, bytes + first, size - first);
    next_ = (next_ + size) % limit_;
    kept_ = kept_ + size < limit_ ? kept_ + size : limit_;
}

std::size_t Capture::tail(char* out) const {
    const auto size = static_cast<std::size_t>(kept_);
    const std::size_t begin = size < limit_ ? 0 : next_;
    const std::size_t first = size < limit_ - begin ? size : limit_ - begin;
    memcpy(out, ring_ + begin, first);
    memcpy(out + first, ring_, size - first);
    return size;
}

void Capture::close() {
    if (pipe_ >= 0 && watched_ != 0) watch(epoll_, pipe_, Source::kCapture, index_, 0, &watched_);
    closeFd(&pipe_);
    closeFd(&file_);
}

}  // namespace aegis::init
