#include "http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace aegis::bench {
namespace {

std::size_t numberAt(std::string_view text, int base) {
    std::size_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, base);
    return value;
}

}  // namespace

std::size_t messageSize(std::string_view buffer) {
    constexpr std::string_view kLength = "ontent-Length: ";
    const auto end = buffer.find("\r\n\r\n");
    if (end == buffer.npos) return 0;
    const auto head = buffer.substr(0, end);
    std::size_t at = end + 4;
    if (const auto length = head.find(kLength); length != head.npos) {
        at += numberAt(head.substr(length + kLength.size()), 10);
        return at <= buffer.size() ? at : 0;
    }
    if (head.find("chunked") == head.npos) return at;
    while (true) {
        const auto line = buffer.find("\r\n", at);
        if (line == buffer.npos) return 0;
        const auto size = numberAt(buffer.substr(at, line - at), 16);
        at = line + 2 + size + 2;
        if (at > buffer.size()) return 0;
        if (size == 0) return at;
    }
}

std::int64_t nowNs() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void die(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

int connectTo(const std::string& address) {
    const bool local = address.starts_with("unix:");
    const auto rest = address.substr(address.find(':') + 1);
    const int fd = ::socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un un{};
    sockaddr_in in{};
    un.sun_family = AF_UNIX;
    if (rest.size() >= sizeof un.sun_path) errno = ENAMETOOLONG, die(rest.c_str());
    std::memcpy(un.sun_path, rest.c_str(), rest.size());
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons(static_cast<std::uint16_t>(numberAt(rest, 10)));
    const auto* to = local ? reinterpret_cast<const sockaddr*>(&un)
                           : reinterpret_cast<const sockaddr*>(&in);
    const socklen_t size = local ? sizeof un : sizeof in;
    if (fd < 0 || ::connect(fd, to, size) != 0) die(address.c_str());
    const int on = 1;
    if (!local) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

}  // namespace aegis::bench
