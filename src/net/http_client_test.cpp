#include "net/http_client.h"

#include <future>
#include <thread>

#include "net/test_support.h"

namespace aegis::net {
namespace {

/// A listener whose one connection is answered with fixed bytes, whatever is asked.
class CannedServer {
  public:
    explicit CannedServer(std::string answer) : listener_(*os::listenTcp("127.0.0.1", 0)) {
        thread_ = std::thread([this, answer = std::move(answer)] {
            ASSERT_TRUE(os::waitReady(listener_.get(), POLLIN, soon()));
            auto fd = *os::acceptConnection(listener_.get());
            std::array<char, 4096> asked;
            ASSERT_TRUE(os::recvSome(fd.get(), asked, soon()));
            (void)os::sendAll(fd.get(), answer, {}, 1000, soon());
            ::shutdown(fd.get(), SHUT_WR);
            while (os::recvSome(fd.get(), asked, soon()).value_or(0) > 0) {
            }
        });
    }
    ~CannedServer() { thread_.join(); }
    Endpoint endpoint() const {
        Endpoint e;
        e.host = "127.0.0.1";
        e.port = *os::localPort(listener_.get());
        return e;
    }

  private:
    os::Fd listener_;
    std::thread thread_;
};

Result<ClientResponse> ask(std::string answer, std::uint64_t limit = 1000) {
    CannedServer server(std::move(answer));
    return fetch(server.endpoint(), {}, soon(), limit);
}

TEST(HttpClient, GivesUpOnAnAnswerThatFallsSilent) {
    auto server = serveOn([](const Request&, ResponseWriter& writer) {
        ASSERT_TRUE(writer.begin(200, {}));
        ASSERT_TRUE(writer.write("one"));
        while (!writer.clientGone())
            os::pauseMs(5);
    });
    ClientRequest request;
    request.idle_ms = 100;
    std::string got;
    HttpConnection connection(endpointOf(*server));
    auto answer = connection.stream(request, Deadline::never(), {}, [&](std::string_view piece) {
        got += piece;
        return true;
    });
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
    EXPECT_EQ(got, "one");
}

TEST(Endpoint, Forms) {
    EXPECT_EQ(parseEndpoint("localhost:9090")->str(), "localhost:9090");
    EXPECT_EQ(parseEndpoint("http://h:1/")->str(), "h:1");
    EXPECT_EQ(parseEndpoint("[::1]:80")->str(), "[::1]:80");
    EXPECT_EQ(parseEndpoint("h", 9090)->port, 9090);
    EXPECT_EQ(parseEndpoint("[::1]", 9090)->host, "::1");
    EXPECT_EQ(parseEndpoint("unix:///run/x.sock")->path, "/run/x.sock");
    auto secure = parseEndpoint("https://h:1");
    ASSERT_TRUE(secure);
    EXPECT_TRUE(secure->is_tls);
    EXPECT_EQ(secure->str(), "https://h:1");
    for (auto* bad : {"", "h", ":80", "h:", "h:x", "h:99999", "h:0", "::1", "[::1", "[::1]x",
                      "h:1/x", "unix://x", "a b:1", "u@h:1"})
        EXPECT_FALSE(parseEndpoint(bad)) << bad;
}

TEST(HttpClient, ReusesItsConnection) {
    std::string first, second;
    auto server = serveOn([&](const Request& request, ResponseWriter& writer) {
        (request.path == "/1" ? first : second) = request.peer.address;
        echo(request, writer);
    });
    HttpConnection client(endpointOf(*server));
    ClientRequest request;
    request.target = "/1";
    ASSERT_TRUE(client.request(request, soon()));
    request.target = "/2";
    ASSERT_TRUE(client.request(request, soon()));
    EXPECT_EQ(first, second);
}

TEST(HttpClient, ConnectsAnewWhenTheServerHasClosed) {
    ServerOptions options;
    options.max_requests = 1;
    auto server = serveOn(echo, options);
    HttpConnection client(endpointOf(*server));
    for (int i = 0; i < 20; ++i) {
        auto answer = client.request({}, soon());
        ASSERT_TRUE(answer) << answer.error().message;
    }
}

TEST(HttpClient, StreamsAnUploadAndADownload) {
    ServerOptions options;
    options.body_limit = [](std::string_view, std::string_view) { return 64U << 20; };
    auto server = serveOn(
        [](const Request& request, ResponseWriter& writer) {
            EXPECT_EQ(request.headers.get("Transfer-Encoding"), "chunked");
            ASSERT_TRUE(writer.begin(200, {}));
            for (std::size_t at = 0; at < request.body.size(); at += 100'000)
                ASSERT_TRUE(writer.write(std::string_view(request.body).substr(at, 100'000)));
            ASSERT_TRUE(writer.end());
        },
        options);
    HttpConnection client(endpointOf(*server));
    ClientRequest request;
    request.method = "PUT";
    int pieces = 0;
    request.body_source = [&]() -> Result<std::string> {
        return ++pieces > 30 ? std::string()
                             : std::string(300'000, static_cast<char>('a' + pieces));
    };
    std::string got;
    int status = 0;
    auto answer = client.stream(
        request, soon(),
        [&](const wire::ResponseHead& head) {
            status = head.status;
            return true;
        },
        [&](std::string_view chunk) {
            got.append(chunk);
            return true;
        });
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(status, 200);
    EXPECT_EQ(got.size(), 9'000'000U);
    EXPECT_EQ(got[0], 'b');
    EXPECT_EQ(got.back(), static_cast<char>('a' + 30));
}

TEST(HttpClient, CallbackStopsTheStream) {
    auto server = serveOn([](const Request&, ResponseWriter& writer) {
        ASSERT_TRUE(writer.begin(200, {}));
        while (writer.write("x")) {
        }
    });
    HttpConnection client(endpointOf(*server));
    auto answer = client.stream({}, soon(), {}, [](std::string_view) { return false; });
    EXPECT_TRUE(answer);
    auto refused = client.stream(
        {}, soon(), [](const wire::ResponseHead&) { return false; },
        [](std::string_view) { return true; });
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kCancelled);
}

TEST(HttpClient, AnErrorOfTheUploadEndsTheRequest) {
    auto server = serveOn(echo);
    HttpConnection client(endpointOf(*server));
    ClientRequest request;
    request.method = "POST";
    request.body_source = []() -> Result<std::string> { return {ErrorCode::kNotFound, "no file"}; };
    auto answer = client.request(request, soon());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kNotFound);
    EXPECT_TRUE(client.request({}, soon())) << "the next request has a connection of its own";
}

TEST(HttpClient, CancelFromAnotherThread) {
    os::EventFd entered;
    auto server = serveOn([&](const Request&, ResponseWriter& writer) {
        entered.signal();
        (void)os::waitReady(writer.socket(), POLLRDHUP, soon());
    });
    HttpConnection client(endpointOf(*server));
    std::thread canceller([&] {
        EXPECT_TRUE(os::waitReady(entered.fd(), POLLIN, soon()));
        client.cancel();
    });
    auto answer = client.request({}, soon());
    canceller.join();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(client.request({}, soon()).error().code, ErrorCode::kCancelled);
}

TEST(HttpClient, DeadlineAndUnreachable) {
    auto listener = *os::listenTcp("127.0.0.1", 0);
    Endpoint silent;
    silent.host = "127.0.0.1";
    silent.port = *os::localPort(listener.get());
    EXPECT_EQ(fetch(silent, {}, soon(50)).error().code, ErrorCode::kTimeout);
    listener.reset();
    EXPECT_EQ(fetch(silent, {}, soon()).error().code, ErrorCode::kUnreachable);
    EXPECT_EQ(fetch(*parseEndpoint("unix:///nowhere.sock"), {}, soon()).error().code,
              ErrorCode::kUnreachable);
}

TEST(HttpClient, Framings) {
    EXPECT_EQ(
        ask("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")->body,
        "hi");
    EXPECT_EQ(ask("HTTP/1.0 200 OK\r\n\r\nuntil close")->body, "until close");
    EXPECT_EQ(ask("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n")->body, "");
    EXPECT_EQ(
        ask("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")->body,
        "hi");
}

TEST(HttpClient, BrokenAnswers) {
    EXPECT_EQ(ask("").error().code, ErrorCode::kIo);
    EXPECT_EQ(ask("HTTP/1.1 200").error().code, ErrorCode::kIo);
    EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").error().code, ErrorCode::kIo);
    EXPECT_EQ(ask("garbage\r\n\r\n").error().code, ErrorCode::kInvalid);
    EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", 4).error().code,
              ErrorCode::kTooLarge);
    EXPECT_EQ(ask("HTTP/1.0 200 OK\r\n\r\n" + std::string(2000, 'a')).error().code,
              ErrorCode::kTooLarge);
    EXPECT_EQ(ask(std::string(40'000, 'a')).error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace aegis::net
