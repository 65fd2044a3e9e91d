#include "os/service_notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "os/fd.h"

namespace aegis::os {
namespace {

/// A datagram socket bound to `name`, where a leading '@' stands for the abstract namespace.
Fd listenAt(const std::string& name) {
    Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name.front() == '@') address.sun_path[0] = '\0';
    auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    return fd;
}

std::string received(const Fd& fd) {
    std::array<char, 256> buffer{};
    auto n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    return n < 0 ? "" : std::string(buffer.data(), static_cast<std::size_t>(n));
}

class ServiceNotify : public ::testing::Test {
  protected:
    void TearDown() override { ::unsetenv("NOTIFY_SOCKET"); }
};

TEST_F(ServiceNotify, TellsASocketInTheFileSystem) {
    const auto path = ::testing::TempDir() + "notify-" + std::to_string(::getpid());
    const Fd manager = listenAt(path);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    notifyServiceManager("READY=1\nSTATUS=up");
    EXPECT_EQ(received(manager), "READY=1\nSTATUS=up");
    ::unlink(path.c_str());
}

TEST_F(ServiceNotify, TellsAnAbstractSocket) {
    const auto name = "@aegis-notify-" + std::to_string(::getpid());
    const Fd manager = listenAt(name);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    notifyServiceManager("STOPPING=1");
    EXPECT_EQ(received(manager), "STOPPING=1");
}

TEST_F(ServiceNotify, IsQuietWhereNobodyListens) {
    notifyServiceManager("READY=1");
    for (const auto& name : {std::string("/nowhere/at/all"), std::string("relative"), std::string(),
                             "/" + std::string(200, 'x')}) {
        ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
        notifyServiceManager("READY=1");
    }
    SUCCEED();
}

}  // namespace
}  // namespace aegis::os
