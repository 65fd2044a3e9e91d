#include "os/socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <array>

#include "os/clock.h"
#include "os/files.h"

namespace aegis::os {
namespace {

Deadline soon(std::int64_t ms = 20'000) { return Deadline::in(systemClock().boot(), ms); }

std::string tempPath(std::string_view name) {
    return ::testing::TempDir() + "aegis-socket-" + std::to_string(::getpid()) + "-" +
           std::string(name);
}

TEST(UnixSocket, HasExactlyItsModeAndReplacesOnlyTheStale) {
    auto path = tempPath("mode");
    auto first = listenUnix(path, 0666);
    ASSERT_TRUE(first) << first.error().message;
    struct stat st{};
    ASSERT_EQ(::stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0666U);

    auto taken = listenUnix(path, 0600);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, ErrorCode::kConflict);

    first->reset();
    EXPECT_EQ(connectUnix(path, soon()).error().code, ErrorCode::kUnreachable);
    EXPECT_TRUE(listenUnix(path, 0600)) << "nobody listens any more";
    ::unlink(path.c_str());

    ASSERT_TRUE(writeFileAtomic(path, "precious"));
    EXPECT_EQ(listenUnix(path, 0600).error().code, ErrorCode::kConflict);
    EXPECT_EQ(*readFile(path, 100), "precious");
    ::unlink(path.c_str());

    EXPECT_EQ(listenUnix(std::string(108, 'x'), 0600).error().code, ErrorCode::kInvalid);
}

TEST(UnixSocket, KnowsItsPeer) {
    auto path = tempPath("peer");
    auto listener = *listenUnix(path, 0600);
    auto client = *connectUnix(path, soon());
    ASSERT_TRUE(waitReady(listener.get(), POLLIN, soon()));
    auto served = *acceptConnection(listener.get());
    ASSERT_TRUE(served);
    EXPECT_FALSE(*acceptConnection(listener.get())) << "only one came";
    auto cred = peerCred(served.get());
    ASSERT_TRUE(cred);
    EXPECT_EQ(cred->pid, ::getpid());
    EXPECT_EQ(cred->uid, ::getuid());
    EXPECT_EQ(peerName(served.get()), "unix");
    ::unlink(path.c_str());
}

TEST(Socket, WaitsEndByDeadlineAndCancel) {
    auto [a, b] = *socketPair();
    std::array<char, 8> bytes;
    EXPECT_EQ(recvSome(a.get(), bytes, soon(10)).error().code, ErrorCode::kTimeout);
    EventFd cancel;
    cancel.signal();
    EXPECT_EQ(recvSome(a.get(), bytes, soon(), cancel.fd()).error().code, ErrorCode::kCancelled);
    EXPECT_TRUE(cancel.drain());
    EXPECT_FALSE(cancel.drain());

    std::string large(8U << 20, 'x');
    EXPECT_EQ(sendAll(a.get(), "", large, 10, soon()).error().code, ErrorCode::kTimeout);
    EXPECT_EQ(sendAll(a.get(), "", large, 60'000, soon(10)).error().code, ErrorCode::kTimeout);
    EXPECT_FALSE(peerGone(a.get()));
    b.reset();
    EXPECT_TRUE(peerGone(a.get()));
    EXPECT_EQ(sendAll(a.get(), "x", "", 10, soon()).error().code, ErrorCode::kIo);
}

TEST(Socket, PassesDescriptors) {
    auto [a, b] = *socketPair();
    auto [in, out] = *socketPair();
    std::array<int, 2> fds{in.get(), out.get()};
    ASSERT_TRUE(sendWithFds(a.get(), "two", fds, soon()));
    auto got = recvWithFds(b.get(), 100, 2, soon());
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(got->bytes, "two");
    ASSERT_EQ(got->fds.size(), 2U);
    EXPECT_NE(got->fds[0].get(), in.get());
    EXPECT_NE(::fcntl(got->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
    ASSERT_TRUE(sendAll(got->fds[0].get(), "hi", "", 1000, soon()));
    std::array<char, 8> bytes;
    EXPECT_EQ(*recvSome(out.get(), bytes, soon()), 2U);

    ASSERT_TRUE(sendWithFds(a.get(), "x", fds, soon()));
    EXPECT_EQ(recvWithFds(b.get(), 100, 1, soon()).error().code, ErrorCode::kInvalid);
    ASSERT_TRUE(sendWithFds(a.get(), "plain", {}, soon()));
    EXPECT_EQ(recvWithFds(b.get(), 100, 0, soon())->bytes, "plain");
    EXPECT_FALSE(sendWithFds(a.get(), "", fds, soon()));
    a.reset();
    EXPECT_EQ(recvWithFds(b.get(), 100, 0, soon())->bytes, "");
}

TEST(Tcp, ListensConnectsAndRefuses) {
    auto listener = *listenTcp("localhost", 0);
    auto port = *localPort(listener.get());
    auto client = connectTcp("localhost", port, soon());
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_EQ(peerName(client->get()), "127.0.0.1:" + std::to_string(port));
    EXPECT_EQ(listenTcp("127.0.0.1", port).error().code, ErrorCode::kConflict);
    EXPECT_EQ(listenTcp("no-such-host.invalid", 0).error().code, ErrorCode::kUnreachable);
    listener.reset();
    EXPECT_EQ(connectTcp("127.0.0.1", port, soon()).error().code, ErrorCode::kUnreachable);
}

TEST(Epoll, ReportsWhatIsReady) {
    Epoll epoll;
    EventFd one, two;
    ASSERT_TRUE(epoll.add(one.fd(), EPOLLIN, 1));
    ASSERT_TRUE(epoll.add(two.fd(), EPOLLIN, 2));
    std::array<EpollEvent, 4> events;
    EXPECT_EQ(epoll.wait(events, 0), 0U);
    two.signal();
    ASSERT_EQ(epoll.wait(events, -1), 1U);
    EXPECT_EQ(events[0].key, 2U);
    ASSERT_TRUE(epoll.modify(two.fd(), 0, 2));
    one.signal();
    ASSERT_EQ(epoll.wait(events, -1), 1U);
    EXPECT_EQ(events[0].key, 1U);
    epoll.remove(one.fd());
    EXPECT_EQ(epoll.wait(events, 0), 0U);
}

}  // namespace
}  // namespace aegis::os
