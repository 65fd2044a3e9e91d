#include "control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "sys.h"

namespace aegis::init {
namespace {

constexpr std::int64_t kFirstDelayMs = 10;
constexpr std::int64_t kLongestDelayMs = 500;
constexpr int kSendPatienceMs = 5000;

void takeFds(msghdr& message, Received& out) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (out.fd_count < proto::ctl::kMaxFds)
                out.fds[out.fd_count++] = fd;
            else
                closeFd(&fd);
        }
    }
}

}  // namespace

void Control::init(int epoll, const char* dir) {
    epoll_ = epoll;
    dir_ = dir;
    delay_ms_ = kFirstDelayMs;
}

std::int64_t Control::nextTry() const { return fd_ >= 0 ? INT64_MAX : retry_at_; }

bool Control::tick(std::int64_t now) {
    if (fd_ >= 0 || now < retry_at_) return false;
    fd_ = connectUnix(dir_, "ctl.sock", SOCK_SEQPACKET);
    if (fd_ >= 0 && watch(epoll_, fd_, Source::kControl, 0, EPOLLIN, &watched_)) {
        delay_ms_ = kFirstDelayMs;
        return true;
    }
    closeFd(&fd_);
    retry_at_ = now + delay_ms_;
    delay_ms_ = delay_ms_ * 2 < kLongestDelayMs ? delay_ms_ * 2 : kLongestDelayMs;
    return false;
}

bool Control::receive(Received& out) {
    out.fd_count = 0;
    if (fd_ < 0) return false;
    iovec part{buffer_, sizeof buffer_};
    alignas(cmsghdr) char ancillary[CMSG_SPACE(proto::ctl::kMaxFds * sizeof(int))];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = ancillary;
    message.msg_controllen = sizeof ancillary;
    const ssize_t n = recvmsg(fd_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n > 0) takeFds(message, out);
    if (n <= 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        closeFds(out);
        drop();
        return false;
    }
    out.bytes = std::string_view(buffer_, static_cast<std::size_t>(n));
    return true;
}

void Control::closeFds(Received& received) {
    for (std::size_t i = 0; i < received.fd_count; ++i) closeFd(&received.fds[i]);
}

void Control::send(const char* bytes, std::size_t size) {
    const std::int64_t until = nowMs() + kSendPatienceMs;
    while (fd_ >= 0) {
        if (::send(fd_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return;
        const std::int64_t left = until - nowMs();
        if ((errno != EAGAIN && errno != EINTR) || left <= 0) {
            drop();
            return;
        }
        pollfd ready{fd_, POLLOUT, 0};
        poll(&ready, 1, static_cast<int>(left));
    }
}

void Control::drop() {
    if (fd_ >= 0) watch(epoll_, fd_, Source::kControl, 0, 0, &watched_);
    watched_ = 0;
    closeFd(&fd_);
    retry_at_ = nowMs() + kFirstDelayMs;
}

}  // namespace aegis::init
