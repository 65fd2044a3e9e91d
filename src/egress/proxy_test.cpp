#include "egress/proxy.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <thread>

#include "os/clock.h"
#include "os/socket.h"

namespace aegis::egress {
namespace {

Deadline soon(std::int64_t ms = 5000) { return Deadline::in(os::systemClock().boot(), ms); }

std::string readAll(int fd) {
    std::string out;
    std::array<char, 4096> buffer;
    while (true) {
        auto n = os::recvSome(fd, buffer, soon());
        if (!n || *n == 0) return out;
        out.append(buffer.data(), *n);
    }
}

class Loopback : public Resolver {
  public:
    Result<std::vector<IpAddress>> resolve(const std::string&, Deadline, int) override {
        return std::vector<IpAddress>{*IpAddress::parse("127.0.0.1")};
    }
};

class Sink : public ports::EgressSink {
  public:
    std::optional<agent::NetworkSpec> network(const ports::SandboxId&) override { return spec; }
    void decided(const ports::SandboxId&, execution::EgressDecided data) override {
        std::lock_guard lock(mutex);
        events.push_back(std::move(data));
    }
    std::vector<execution::EgressDecided> wait(std::size_t count) {
        for (int i = 0; i < 500; ++i) {
            {
                std::lock_guard lock(mutex);
                if (events.size() >= count) return events;
            }
            os::pauseMs(10);
        }
        std::lock_guard lock(mutex);
        return events;
    }
    std::optional<agent::NetworkSpec> spec;
    std::mutex mutex;
    std::vector<execution::EgressDecided> events;
};

class ProxyTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = "/tmp/aegis-egress-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        dir_ = pattern;
        auto server = os::listenTcp("127.0.0.1", 0);
        ASSERT_TRUE(server);
        server_ = std::move(*server);
        port_ = *os::localPort(server_.get());
        sink_.spec = agent::NetworkSpec{agent::NetworkMode::kAllow, {"good.test", "127.0.0.1"}, {}};
        auto acceptor = net::Acceptor::create();
        ASSERT_TRUE(acceptor);
        ProxyOptions options;
        options.allow_private = {"127.0.0.0/8"};
        options.max_response_bytes = 100'000;
        options.head_ms = 500;
        auto proxy = Proxy::create(std::make_unique<Loopback>(), sink_, *acceptor, options);
        ASSERT_TRUE(proxy);
        proxy_ = std::move(*proxy);
        auto listener = proxy_->listen(dir_ + "/proxy.sock");
        ASSERT_TRUE(listener);
        listener_ = std::move(*listener);
        listener_->assign({});
    }
    void TearDown() override {
        listener_.reset();
        proxy_.reset();
        ::unlink((dir_ + "/proxy.sock").c_str());
        ::rmdir(dir_.c_str());
    }

    os::Fd say(const std::string& text) {
        auto fd = os::connectUnix(dir_ + "/proxy.sock", soon());
        EXPECT_TRUE(fd);
        EXPECT_TRUE(os::sendAll(fd->get(), text, {}, 5000, soon()));
        return std::move(*fd);
    }
    /// What the server was sent; it answers with `answer` and closes.
    std::string serveOnce(const std::string& answer) {
        EXPECT_TRUE(os::waitReady(server_.get(), POLLIN, soon()));
        auto fd = os::acceptConnection(server_.get());
        std::array<char, 4096> buffer;
        auto n = os::recvSome(fd->get(), buffer, soon());
        (void)os::sendAll(fd->get(), answer, {}, 5000, soon());
        return n ? std::string(buffer.data(), *n) : std::string();
    }
    bool nobodyCame() { return !os::waitReady(server_.get(), POLLIN, soon(100)); }
    std::string host(const char* name) const {
        return std::string(name) + ":" + std::to_string(port_);
    }
    std::string get(const char* name) const {
        return "GET http://" + host(name) + "/x HTTP/1.1\r\nHost: " + host(name) + "\r\n\r\n";
    }
    std::string connect(const char* name) const {
        return "CONNECT " + host(name) + " HTTP/1.1\r\nHost: " + host(name) + "\r\n\r\n";
    }

    std::string dir_;
    os::Fd server_;
    std::uint16_t port_ = 0;
    Sink sink_;
    std::unique_ptr<Proxy> proxy_;
    std::unique_ptr<ports::GuestListener> listener_;
};

/// A ClientHello of TLS 1.2 with that name.
std::string hello(const std::string& name) {
    auto vec = [](std::string bytes, int size) {
        std::string out;
        for (int i = size - 1; i >= 0; --i)
            out += static_cast<char>(bytes.size() >> (8 * i) & 0xff);
        return out + bytes;
    };
    std::string zero(1, '\0');
    auto extension = zero + zero + vec(vec(zero + vec(name, 2), 2), 2);
    auto body = "\x03\x03" + std::string(32, 'r') + zero + vec("\x13\x01", 2) + vec(zero, 1) +
                vec(extension, 2);
    return "\x16\x03\x01" + vec("\x01" + vec(body, 3), 2);
}

TEST_F(ProxyTest, ASocketThatIsNobodysServesNobody) {
    listener_.reset();
    ::unlink((dir_ + "/proxy.sock").c_str());
    auto listener = proxy_->listen(dir_ + "/proxy.sock");
    ASSERT_TRUE(listener);
    auto early = os::connectUnix(dir_ + "/proxy.sock", soon());
    ASSERT_TRUE(early);
    EXPECT_EQ(readAll(early->get()), "");
    (*listener)->assign({});
    EXPECT_TRUE(readAll(say(get("evil.test")).get()).starts_with("HTTP/1.1 403 "));
    EXPECT_EQ(sink_.wait(1).size(), 1U) << "the one, not the other";
    listener_ = std::move(*listener);
}

TEST_F(ProxyTest, PlainHttp) {
    auto guest =
        say(get("good.test") + "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    EXPECT_EQ(serveOnce("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
              "GET /x HTTP/1.1\r\nHost: " + host("good.test") + "\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(readAll(guest.get()),
              "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    auto events = sink_.wait(1);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_TRUE(events[0].allowed);
    EXPECT_EQ(events[0].host, "good.test");
    EXPECT_EQ(events[0].port, port_);
    EXPECT_EQ(events[0].reason, "");
    EXPECT_GT(events[0].bytes, 50U);
}

TEST_F(ProxyTest, RefusalsReachNobodyAndAreTold) {
    EXPECT_TRUE(readAll(say(get("evil.test")).get()).starts_with("HTTP/1.1 403 "));
    EXPECT_TRUE(readAll(say(connect("evil.test")).get()).starts_with("HTTP/1.1 403 "));
    EXPECT_TRUE(readAll(say("GET / HTTP/1.1\r\nHost: good.test\r\n\r\n").get())
                    .starts_with("HTTP/1.1 400 "));
    sink_.spec = agent::NetworkSpec{};
    EXPECT_TRUE(readAll(say(get("good.test")).get()).starts_with("HTTP/1.1 403 "));
    sink_.spec.reset();
    EXPECT_TRUE(readAll(say(get("good.test")).get()).starts_with("HTTP/1.1 403 "));
    EXPECT_TRUE(nobodyCame());
    auto events = sink_.wait(5);
    ASSERT_EQ(events.size(), 5U);
    for (const auto& event : events)
        EXPECT_FALSE(event.allowed);
    EXPECT_EQ(events[0].reason, "not in the allowlist");
    EXPECT_EQ(events[3].reason, "network.mode is none");
}

TEST_F(ProxyTest, ATunnelNeedsTheNameThatWasAllowed) {
    const std::string established = "HTTP/1.1 200 Connection established\r\n\r\n";
    auto good = say(connect("good.test") + hello("Good.Test"));
    EXPECT_EQ(serveOnce("server hello"), hello("Good.Test"));
    EXPECT_EQ(readAll(good.get()), established + "server hello");
    good.reset();
    EXPECT_EQ(sink_.wait(1).size(), 1U);
    for (const auto& bytes :
         {hello("other.test"), std::string("SSH-2.0-x\r\n"), std::string("\x16")}) {
        auto guest = say(connect("good.test") + bytes);
        EXPECT_EQ(readAll(guest.get()), established);
        auto fd = os::acceptConnection(server_.get());
        ASSERT_TRUE(fd && *fd);
        EXPECT_EQ(readAll(fd->get()), "") << "nothing may reach the server";
    }
    auto events = sink_.wait(4);
    ASSERT_EQ(events.size(), 4U);
    EXPECT_TRUE(events[0].allowed);
    EXPECT_EQ(events[1].reason, "the TLS server name is another");
    EXPECT_EQ(events[3].reason, "no TLS ClientHello in time");
    for (std::size_t i = 1; i < 4; ++i)
        EXPECT_FALSE(events[i].allowed);
}

TEST_F(ProxyTest, TooMuchIsCut) {
    auto guest = say(get("good.test"));
    std::string all;
    std::thread reader([&] { all = readAll(guest.get()); });
    (void)serveOnce("HTTP/1.1 200 OK\r\n\r\n" + std::string(400'000, 'x'));
    reader.join();
    EXPECT_LE(all.size(), 100'000U);
    EXPECT_GT(all.size(), 50'000U);
    auto events = sink_.wait(1);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].reason, "response cut at 100000 bytes");
}

TEST_F(ProxyTest, TheEndOfTheSandboxEndsItsConnections) {
    auto tunnel = say(connect("good.test") + hello("good.test"));
    ASSERT_TRUE(os::waitReady(server_.get(), POLLIN, soon()));
    auto fd = os::acceptConnection(server_.get());
    std::array<char, 4096> buffer;
    ASSERT_TRUE(os::recvSome(fd->get(), buffer, soon()));
    auto silent = say("GET ");
    listener_.reset();
    EXPECT_EQ(readAll(fd->get()), "");
    EXPECT_EQ(readAll(silent.get()), "");
    EXPECT_EQ(sink_.wait(1)[0].reason, "the sandbox has ended");
}

}  // namespace
}  // namespace aegis::egress
