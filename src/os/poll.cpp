#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/assert.h"
#include "os/socket.h"

namespace aegis::os {
namespace {

Status control(int epoll, int operation, int fd, std::uint32_t events, std::uint64_t key) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = key;
    if (::epoll_ctl(epoll, operation, fd, &event) != 0) return errnoError(errno, "epoll_ctl");
    return {};
}

}  // namespace

EventFd::EventFd() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { AEGIS_ASSERT(fd_); }

void EventFd::signal() {
    std::uint64_t one = 1;
    // Can only fail when the counter is full, which means that it is set.
    [[maybe_unused]] auto n = ::write(fd_.get(), &one, sizeof one);
}

bool EventFd::drain() {
    std::uint64_t count = 0;
    return ::read(fd_.get(), &count, sizeof count) == sizeof count;
}

Epoll::Epoll() : fd_(::epoll_create1(EPOLL_CLOEXEC)) { AEGIS_ASSERT(fd_); }

Status Epoll::add(int fd, std::uint32_t events, std::uint64_t key) {
    return control(fd_.get(), EPOLL_CTL_ADD, fd, events, key);
}

Status Epoll::modify(int fd, std::uint32_t events, std::uint64_t key) {
    return control(fd_.get(), EPOLL_CTL_MOD, fd, events, key);
}

void Epoll::remove(int fd) { ::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr); }

std::size_t Epoll::wait(std::span<EpollEvent> out, int timeout_ms) {
    std::array<epoll_event, 64> events{};
    int room = static_cast<int>(std::min(out.size(), events.size()));
    int n = ::epoll_wait(fd_.get(), events.data(), room, timeout_ms);
    for (int i = 0; i < n; ++i)
        out[static_cast<std::size_t>(i)] = {events[static_cast<std::size_t>(i)].data.u64,
                                            events[static_cast<std::size_t>(i)].events};
    return n > 0 ? static_cast<std::size_t>(n) : 0;
}

}  // namespace aegis::os
