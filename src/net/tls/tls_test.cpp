#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "net/test_support.h"
#include "net/tls/terminator.h"
#include "net/tls/tunnel.h"

namespace aegis::net::tls {
namespace {

std::string data(const std::string& name) {
    return std::string(AEGIS_SOURCE_DIR) + "/src/net/tls/testdata/" + name;
}

/// A server behind a terminator, destroyed in the order that it asks for.
struct Secure {
    explicit Secure(Handler handler, ServerOptions options = {}) {
        auto made = Terminator::create(data("cert.pem"), data("key.pem"));
        EXPECT_TRUE(made) << made.error().message;
        terminator = std::move(*made);
        options.secure = [this](os::Fd accepted, std::function<void(os::Fd)> ready) {
            terminator->accept(std::move(accepted), std::move(ready));
        };
        server = serveOn(std::move(handler), std::move(options));
    }
    ~Secure() {
        server->stop(soon(500));
        terminator.reset();
    }
    Endpoint endpoint(std::string host = "127.0.0.1") const {
        auto out = endpointOf(*server);
        out.is_tls = true;
        out.host = std::move(host);
        return out;
    }
    std::unique_ptr<Terminator> terminator;
    std::unique_ptr<Server> server;
};

HttpConnection::Connector through(Tunnel& tunnel) {
    return [&tunnel](const Endpoint& endpoint, Deadline deadline, int cancel_fd) {
        return tunnel.connect(endpoint, deadline, cancel_fd);
    };
}

std::unique_ptr<Tunnel> tunnelWith(const std::string& ca) {
    auto made = Tunnel::create(ca);
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
}

ClientRequest post(std::string body) {
    ClientRequest request;
    request.method = "POST";
    request.target = "/p";
    request.body = std::move(body);
    return request;
}

TEST(Tls, RequestsOnOneConnectionWithLargeBodies) {
    ServerOptions options;
    options.body_limit = [](std::string_view, std::string_view) { return 64U << 20U; };
    std::atomic<int> named = 0;
    options.on_answered = [&](const Answered& a) { named += a.peer.starts_with("127.0.0.1:"); };
    Secure secure(echo, options);
    auto tunnel = tunnelWith(data("ca.pem"));
    HttpConnection connection(secure.endpoint(), through(*tunnel));
    for (std::size_t size : {0UL, 1UL, 16'384UL, 16'385UL, 9'000'000UL}) {
        std::string body(size, 'x');
        for (std::size_t i = 0; i < size; ++i)
            body[i] = static_cast<char>('a' + i % 23);
        auto answer = connection.request(post(body), soon(60'000), 64U << 20U);
        ASSERT_TRUE(answer) << size << " " << answer.error().message;
        EXPECT_TRUE(answer->body == "POST /p " + body) << size;
    }
    EXPECT_EQ(secure.server->connections(), 1U);
    EXPECT_EQ(named, 5);
}

TEST(Tls, AClientThatReadsSlowlyGetsAllOfIt) {
    std::string large(20'000'000, 'y');
    Secure secure(
        [&](const Request&, ResponseWriter& writer) { (void)writer.send(200, {}, large); });
    auto tunnel = tunnelWith(data("ca.pem"));
    HttpConnection connection(secure.endpoint(), through(*tunnel));
    std::size_t got = 0;
    auto answer = connection.stream({}, soon(60'000), {}, [&](std::string_view chunk) {
        if (got == 0) os::pauseMs(300);
        got += chunk.size();
        return true;
    });
    EXPECT_TRUE(answer);
    EXPECT_EQ(got, large.size());
}

TEST(Tls, AnEndOnOneSideIsSeenOnTheOther) {
    std::atomic<bool> gone = false;
    Secure secure([&](const Request&, ResponseWriter& writer) {
        (void)writer.begin(200, {});
        (void)writer.write("first");
        for (int i = 0; i < 2000 && !writer.clientGone(); ++i)
            os::pauseMs(5);
        gone = writer.clientGone();
    });
    auto tunnel = tunnelWith(data("ca.pem"));
    {
        HttpConnection connection(secure.endpoint(), through(*tunnel));
        (void)connection.stream({}, soon(), {}, [](std::string_view) { return false; });
    }
    for (int i = 0; i < 2000 && !gone; ++i)
        os::pauseMs(5);
    EXPECT_TRUE(gone);
}

TEST(Tls, OnlyGoodCertificatesAreTaken) {
    Secure secure(echo);
    auto refusal = [](Tunnel& tunnel, const Endpoint& endpoint) {
        auto socket = tunnel.connect(endpoint, soon(), -1);
        return socket ? Error(ErrorCode::kInternal, "taken") : socket.error();
    };
    auto system = tunnelWith("");
    auto unknown = refusal(*system, secure.endpoint());
    EXPECT_EQ(unknown.code, ErrorCode::kUnreachable);
    EXPECT_NE(unknown.message.find("certificate"), std::string::npos) << unknown.message;
    auto ours = tunnelWith(data("ca.pem"));
    auto other_name = refusal(*ours, secure.endpoint("localhost"));
    EXPECT_EQ(other_name.code, ErrorCode::kUnreachable);
    EXPECT_NE(other_name.message.find("mismatch"), std::string::npos) << other_name.message;
    EXPECT_EQ(Tunnel::create("/nonexistent").error().code, ErrorCode::kInvalid);
    auto plain = serveOn(echo);
    auto endpoint = endpointOf(*plain);
    endpoint.is_tls = true;
    EXPECT_EQ(refusal(*ours, endpoint).code, ErrorCode::kUnreachable);
}

TEST(Tls, SilenceAndGarbageHarmNobodyElse) {
    Secure secure(echo);
    std::vector<std::unique_ptr<RawClient>> silent;
    for (int i = 0; i < 600; ++i)
        silent.push_back(std::make_unique<RawClient>(secure.server->port()));
    for (int i = 0; i < 20; ++i)
        silent[static_cast<std::size_t>(i) + 500]->send("GET / HTTP/1.1");
    silent[1]->reset();
    auto tunnel = tunnelWith(data("ca.pem"));
    HttpConnection connection(secure.endpoint(), through(*tunnel));
    auto answer = connection.request(post("x"), soon());
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body, "POST /p x");
    // The oldest gave way: more than may greet at once were there.
    EXPECT_EQ(silent[0]->readToEnd(), "");
}

TEST(Tls, FilesThatDoNotFit) {
    EXPECT_TRUE(Terminator::check(data("cert.pem"), data("key.pem")));
    EXPECT_EQ(Terminator::check("/nonexistent", data("key.pem")).error().code, ErrorCode::kInvalid);
    auto other = Terminator::check(data("ca.pem"), data("key.pem"));
    ASSERT_FALSE(other);
    EXPECT_NE(other.error().message.find("server.tls.key_file"), std::string::npos)
        << other.error().message;
    auto swapped = Terminator::check(data("key.pem"), data("cert.pem"));
    ASSERT_FALSE(swapped);
    EXPECT_NE(swapped.error().message.find("server.tls.cert_file"), std::string::npos);
    auto terminator = Terminator::create(data("cert.pem"), data("key.pem"));
    ASSERT_TRUE(terminator);
    EXPECT_FALSE((*terminator)->reload(data("ca.pem"), data("key.pem")));
    EXPECT_TRUE((*terminator)->reload(data("cert.pem"), data("key.pem")));
}

}  // namespace
}  // namespace aegis::net::tls
