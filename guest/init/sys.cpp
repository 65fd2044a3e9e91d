#include "sys.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

namespace aegis::init {

Text::Text(char* out, std::size_t capacity) : out_(out), room_(capacity - 1) { *out_ = '\0'; }

Text& Text::add(const char* text, std::size_t most) {
    for (; *text != '\0' && most > 0; ++text, --most) {
        if (room_ == 0) {
            whole_ = false;
            return *this;
        }
        *out_++ = *text;
        *out_ = '\0';
        --room_;
    }
    return *this;
}

int toNumber(const char* text) {
    int value = 0;
    for (; *text >= '0' && *text <= '9' && value < 100'000'000; ++text)
        value = value * 10 + (*text - '0');
    return *text == '\0' ? value : 0;
}

std::int64_t nowMs() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

bool watch(int epoll, int fd, Source source, std::uint32_t index, std::uint32_t events,
           std::uint32_t* current) {
    if (events == *current) return true;
    epoll_event event{};
    event.events = events;
    event.data.u64 = (static_cast<std::uint64_t>(source) << 32) | index;
    // A registered descriptor reports errors and hang-ups even when nothing is asked for, which
    // would turn the loop into a spin: with nothing to wait for it leaves.
    const int op = events == 0 ? EPOLL_CTL_DEL : *current == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(epoll, op, fd, &event) != 0) return false;
    *current = events;
    return true;
}

void closeFd(int* fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

bool sendWithFd(int socket, const char* bytes, std::size_t size, int fd) {
    iovec part{const_cast<char*>(bytes), size};
    alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (fd >= 0) {
        message.msg_control = ancillary;
        message.msg_controllen = sizeof ancillary;
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

int connectUnix(const char* dir, const char* name, int type) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (!Text(address.sun_path, sizeof address.sun_path).add(dir).add("/").add(name).whole()) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        const int error = errno;
        closeFd(&fd);
        errno = error;
        return -1;
    }
    return fd;
}

void raiseLoopback() {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    ifreq request{};
    Text(request.ifr_name, sizeof request.ifr_name).add("lo");
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) == 0) {
        request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
        ioctl(fd, SIOCSIFFLAGS, &request);
    }
    closeFd(&fd);
}

}  // namespace aegis::init
