#include "net/server.h"

#include <sys/stat.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "net/test_support.h"

namespace aegis::net {
namespace {

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr std::string_view kGetClose = "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::size_t occurrences(const std::string& text, std::string_view part) {
    std::size_t n = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++n;
    return n;
}

std::string exchange(std::string_view bytes, ServerOptions options = {}) {
    auto server = serveOn(echo, std::move(options));
    RawClient client(server->port());
    client.send(bytes);
    return client.readToEnd();
}

TEST(Server, AnswersAndCloses) {
    auto answer = exchange(kGetClose);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_TRUE(has(answer, "Connection: close\r\n"));
    EXPECT_TRUE(has(answer, "Content-Length: 7\r\n"));
    EXPECT_TRUE(answer.ends_with("\r\n\r\nGET /b ")) << answer;
}

TEST(Server, KeepsAliveAndPipelines) {
    std::string requests;
    for (int i = 0; i < 50; ++i)
        requests += kGet;
    auto answer = exchange(requests + std::string(kGetClose));
    EXPECT_EQ(occurrences(answer, "HTTP/1.1 200 OK"), 51U);
    EXPECT_EQ(occurrences(answer, "Connection: close"), 1U);
}

TEST(Server, TakesARequestByteByByte) {
    auto server = serveOn(echo);
    RawClient client(server->port());
    std::string_view bytes =
        "\r\nPOST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        "3\r\nabc\r\n0\r\n\r\n";
    for (char c : bytes)
        client.send({&c, 1});
    EXPECT_TRUE(client.readToEnd().ends_with("POST /p abc"));
}

TEST(Server, Http10) {
    auto plain = exchange("GET /x HTTP/1.0\r\n\r\n");
    EXPECT_TRUE(has(plain, "Connection: close"));
    auto kept =
        exchange("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /y HTTP/1.0\r\n\r\n");
    EXPECT_EQ(occurrences(kept, "HTTP/1.1 200 OK"), 2U);
    EXPECT_TRUE(has(kept, "Connection: keep-alive"));
}

TEST(Server, HeadHasNoBody) {
    auto answer = exchange("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(kGetClose));
    EXPECT_TRUE(has(answer, "Content-Length: 8\r\n"));
    EXPECT_FALSE(has(answer, "HEAD /x"));
    EXPECT_TRUE(answer.ends_with("GET /b "));
}

TEST(Server, ExpectContinue) {
    auto server = serveOn(echo);
    RawClient client(server->port());
    client.send("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.readUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hi");
    EXPECT_TRUE(client.readUntil("POST /p hi").ends_with("POST /p hi"));

    RawClient large(server->port());
    large.send(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n");
    auto refused = large.readToEnd();
    EXPECT_TRUE(refused.starts_with("HTTP/1.1 413 ")) << refused;

    EXPECT_TRUE(exchange("POST / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\n\r\n")
                    .starts_with("HTTP/1.1 417 "));
}

TEST(Server, RefusalsCarryTheJsonBody) {
    auto answer = exchange("GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
    EXPECT_TRUE(has(answer, "Content-Type: application/json"));
    EXPECT_TRUE(has(answer, R"({"error":{"code":"invalid","message":")")) << answer;
    EXPECT_TRUE(answer.ends_with(R"(","details":[]}})")) << answer;

    auto status = [](std::string_view bytes) { return exchange(bytes).substr(0, 13); };
    EXPECT_EQ(status("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
              "HTTP/1.1 400 ");
    EXPECT_EQ(status("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
              "HTTP/1.1 400 ");
    EXPECT_EQ(status("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"),
              "HTTP/1.1 501 ");
    EXPECT_EQ(status("GET /../x HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 400 ");
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(40'000, 'a')),
              "HTTP/1.1 431 ");
    EXPECT_EQ(status("\x16\x03\x01\x02\n"), "HTTP/1.1 400 ");
}

TEST(Server, ABodyBeyondTheRoutesLimitIs413EvenWhileItIsBeingSent) {
    ServerOptions options;
    options.body_limit = [](std::string_view, std::string_view path) {
        return path == "/large" ? std::uint64_t{8} << 20 : std::uint64_t{1024};
    };
    auto server = serveOn(echo, options);
    HttpConnection client(endpointOf(*server));
    ClientRequest request;
    request.method = "POST";
    request.body = std::string(4U << 20, 'b');
    auto refused = client.request(request, soon());
    ASSERT_TRUE(refused) << refused.error().message;
    EXPECT_EQ(refused->status, 413);
    request.target = "/large";
    auto taken = client.request(request, soon());
    ASSERT_TRUE(taken) << taken.error().message;
    EXPECT_EQ(taken->status, 200);
    EXPECT_EQ(taken->body.size(), request.body.size() + std::string("POST /large ").size());
}

TEST(Server, DribbledHeadIsCutByAnAbsoluteDeadline) {
    ServerOptions options;
    options.header_time_ms = 150;
    auto server = serveOn(echo, options);
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\n");
    // Keeps sending a byte each time poll gives up waiting: activity must not extend the deadline.
    while (!os::waitReady(client.fd(), POLLIN, soon(10)))
        client.send("a");
    EXPECT_TRUE(client.readToEnd().starts_with("HTTP/1.1 408 "));
}

TEST(Server, SlowBodyIs408AndSilentClientsAreClosed) {
    ServerOptions options;
    options.header_time_ms = 100;
    options.body_time_ms = 100;
    options.idle_time_ms = 100;
    auto server = serveOn(echo, options);
    RawClient slow(server->port());
    slow.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    EXPECT_TRUE(slow.readToEnd().starts_with("HTTP/1.1 408 "));
    RawClient silent(server->port());
    EXPECT_EQ(silent.readToEnd(), "");
    RawClient idle(server->port());
    idle.send(kGet);
    EXPECT_EQ(occurrences(idle.readToEnd(), "HTTP/1.1"), 1U);
}

TEST(Server, ClientsThatGoAtAnyByteDoNoHarm) {
    std::atomic<int> handled = 0;
    auto server = serveOn([&](const Request& request, ResponseWriter& writer) {
        ++handled;
        echo(request, writer);
    });
    std::string_view bytes = "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    for (std::size_t n = 0; n <= bytes.size(); ++n) {
        RawClient client(server->port());
        client.send(bytes.substr(0, n));
        if (n % 2 == 0) {
            client.close();
        } else {
            client.reset();
        }
    }
    RawClient client(server->port());
    client.send(kGetClose);
    EXPECT_TRUE(has(client.readToEnd(), "200 OK"));
    server->stop(soon());
    EXPECT_LE(handled, 2);
    EXPECT_EQ(server->connections(), 0U);
}

TEST(Server, HalfClosedClientStillGetsItsAnswer) {
    auto server = serveOn(echo);
    RawClient client(server->port());
    client.send(kGet);
    client.halfClose();
    EXPECT_TRUE(client.readToEnd().ends_with("GET /a "));
}

TEST(Server, StreamsChunksAndNoticesThatTheClientIsGone) {
    std::promise<bool> noticed;
    auto server = serveOn([&](const Request& request, ResponseWriter& writer) {
        ASSERT_TRUE(writer.begin(200, {{"Content-Type", "text/plain"}}));
        ASSERT_TRUE(writer.write("one"));
        if (request.path == "/end") {
            EXPECT_FALSE(writer.clientGone());
            EXPECT_TRUE(writer.write("two"));
            EXPECT_TRUE(writer.end());
            return;
        }
        EXPECT_TRUE(os::waitReady(writer.socket(), POLLRDHUP, soon()));
        bool gone = writer.clientGone();
        bool failed = false;
        for (int i = 0; i < 1000 && !failed; ++i)
            failed = !writer.write(std::string(1000, 'x'));
        noticed.set_value(gone && failed);
    });
    RawClient whole(server->port());
    whole.send("GET /end HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(
        whole.readUntil("0\r\n\r\n").ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
    whole.received().clear();
    whole.send(kGetClose);
    EXPECT_TRUE(has(whole.readUntil("one"), "chunked"));
    whole.close();
    EXPECT_TRUE(noticed.get_future().get());
}

TEST(Server, AStreamsFirstPieceGoesWithItsHeadAndTheLastWithItsEnd) {
    auto server = serveOn([&](const Request& request, ResponseWriter& writer) {
        std::string big(100'000, 'b');
        bool long_ones = request.path == "/big";
        EXPECT_TRUE(writer.begin(200, {}, long_ones ? big : "one"));
        EXPECT_TRUE(writer.write(""));
        EXPECT_TRUE(writer.end(long_ones ? big : "two"));
    });
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(
        client.readUntil("0\r\n\r\n").ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
    client.received().clear();
    client.send(
        "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /end HTTP/1.0\r\n\r\n");
    auto rest = client.readUntil("onetwo");
    EXPECT_TRUE(rest.ends_with("\r\n\r\nonetwo"));
    EXPECT_EQ(occurrences(rest, "one"), 1U) << "HEAD has no body";
    HttpConnection reader(endpointOf(*server));
    ClientRequest request;
    request.target = "/big";
    auto answer = reader.request(request, soon());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, std::string(200'000, 'b'));
}

TEST(Server, WhatGoesPromptlyNeverWaitsAndNothingOfItIsLost) {
    std::string sent;
    std::promise<void> full, go_on;
    auto server = serveOn([&](const Request&, ResponseWriter& writer) {
        // Another thread sends while the handler's waits for it.
        std::thread([&] {
            writer.setPrompt(true);
            EXPECT_TRUE(writer.begin(200, {}, "first"));
            sent = "first";
            for (char c = 'a'; !writer.hasUnsent(); c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
                sent += std::string(10'000, c);
                EXPECT_TRUE(writer.write(std::string(10'000, c)));
            }
            writer.setPrompt(false);
        }).join();
        full.set_value();
        go_on.get_future().wait();
        EXPECT_TRUE(writer.flush());
        EXPECT_FALSE(writer.hasUnsent());
        EXPECT_TRUE(writer.end("last"));
    });
    RawClient client(server->port());
    client.send("GET / HTTP/1.0\r\n\r\n");
    full.get_future().wait();
    go_on.set_value();
    auto answer = client.readToEnd();
    EXPECT_TRUE(answer.ends_with("\r\n\r\n" + sent + "last"));
}

TEST(Server, StreamWithoutEndIsSeenAsCut) {
    auto server = serveOn([](const Request&, ResponseWriter& writer) {
        ASSERT_TRUE(writer.begin(200, {}));
        ASSERT_TRUE(writer.write("half"));
    });
    HttpConnection client(endpointOf(*server));
    auto answer = client.request({}, soon());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kIo);
    RawClient old(server->port());
    old.send("GET / HTTP/1.0\r\n\r\n");
    old.readUntil("half");
    std::array<char, 16> rest;
    EXPECT_FALSE(os::recvSome(old.fd(), rest, soon())) << "HTTP/1.0 must see a reset";
}

TEST(Server, StalledReaderIsGivenUp) {
    std::promise<ErrorCode> seen;
    ServerOptions options;
    options.write_progress_ms = 100;
    auto server = serveOn(
        [&](const Request&, ResponseWriter& writer) {
            ASSERT_TRUE(writer.begin(200, {}));
            Status status;
            while (status)
                status = writer.write(std::string(1U << 20, 'x'));
            seen.set_value(status.error().code);
        },
        options);
    RawClient client(server->port());
    client.send(kGet);
    EXPECT_EQ(seen.get_future().get(), ErrorCode::kTimeout);
}

TEST(Server, HandlersThatThrowOrForgetAre500) {
    auto server = serveOn([](const Request& request, ResponseWriter&) {
        if (request.path == "/throw") throw std::runtime_error("x");
        if (request.path == "/other") throw 1;
    });
    for (auto* path : {"/throw", "/other", "/forget"}) {
        ClientRequest request;
        request.target = path;
        auto answer = fetch(endpointOf(*server), request, soon());
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->status, 500);
    }
}

TEST(Server, DetachedSocketOutlivesTheServer) {
    os::Fd detached;
    std::promise<void> done;
    auto server = serveOn([&](const Request&, ResponseWriter& writer) {
        ASSERT_TRUE(writer.begin(200, {}));
        detached = writer.detach();
        done.set_value();
    });
    RawClient client(server->port());
    client.send(kGet);
    done.get_future().get();
    client.readUntil("\r\n\r\n");
    server->stop(soon());
    EXPECT_EQ(server->connections(), 0U);
    ASSERT_TRUE(os::sendAll(detached.get(), "late", {}, 1000, soon()));
    EXPECT_TRUE(client.readUntil("late").ends_with("late"));
}

TEST(Server, TwoHundredParallelClients) {
    ServerOptions options;
    options.max_connections = 256;
    std::atomic<int> at_once = 0;
    std::promise<void> all_there;
    auto opened = all_there.get_future().share();
    auto server = serveOn(
        [&](const Request& request, ResponseWriter& writer) {
            if (++at_once == 200) all_there.set_value();
            opened.wait();
            echo(request, writer);
        },
        options);
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 200; ++i) {
        clients.push_back(std::make_unique<RawClient>(server->port()));
        clients.back()->send(kGetClose);
    }
    int answered = 0;
    for (auto& client : clients)
        answered += client->readToEnd().ends_with("GET /b ") ? 1 : 0;
    EXPECT_EQ(answered, 200);
}

TEST(Server, ReservedPlacesAndFullHouse) {
    ServerOptions options;
    options.max_connections = 4;
    options.reserved_connections = 2;
    options.reserved_path = [](std::string_view, std::string_view p) { return p == "/health"; };
    std::promise<void> release;
    auto released = release.get_future().share();
    std::atomic<int> busy = 0;
    os::EventFd both;
    auto server = serveOn(
        [&](const Request& request, ResponseWriter& writer) {
            if (request.path == "/a") {
                if (++busy == 2) both.signal();
                released.wait();
            }
            echo(request, writer);
        },
        options);
    RawClient one(server->port()), two(server->port());
    one.send(kGet);
    two.send(kGet);
    ASSERT_TRUE(os::waitReady(both.fd(), POLLIN, soon()));
    RawClient three(server->port());
    three.send(kGet);
    EXPECT_TRUE(three.readToEnd().starts_with("HTTP/1.1 503 "));
    RawClient health(server->port());
    health.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(has(health.readUntil("GET /health"), "200 OK"));
    release.set_value();
    EXPECT_TRUE(has(one.readUntil("GET /a "), "200 OK"));
}

TEST(Server, AnIdleConnectionGivesWayToANewOne) {
    ServerOptions options;
    options.max_connections = 1;
    auto server = serveOn(echo, options);
    HttpConnection idle(endpointOf(*server));
    ASSERT_TRUE(idle.request({}, soon()));
    // Idle as soon as the server is back at reading, which the answer may precede by a moment.
    bool served = false;
    for (int i = 0; i < 1000 && !served; ++i) {
        auto answer = fetch(endpointOf(*server), {}, soon());
        served = answer && answer->status == 200;
    }
    EXPECT_TRUE(served);
}

TEST(Server, StopWaitsForHandlersThenShutsThemDown) {
    os::EventFd entered;
    std::promise<bool> gone;
    auto server = serveOn([&](const Request& request, ResponseWriter& writer) {
        if (request.path == "/a") {
            entered.signal();
            EXPECT_TRUE(os::waitReady(writer.socket(), POLLRDHUP, soon()));
            gone.set_value(writer.clientGone());
            return;
        }
        echo(request, writer);
    });
    RawClient idle(server->port());
    idle.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    idle.readUntil("GET /b ");
    RawClient busy(server->port());
    busy.send(kGet);
    ASSERT_TRUE(os::waitReady(entered.fd(), POLLIN, soon()));
    auto port = server->port();
    server->stop(soon(100));
    EXPECT_TRUE(gone.get_future().get());
    EXPECT_EQ(server->connections(), 0U);
    idle.received().clear();
    EXPECT_EQ(idle.readToEnd(), "");
    auto late = os::connectTcp("127.0.0.1", port, soon());
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::kUnreachable);
}

TEST(Server, UnixSocketsTellThePeerAndAreManyOnOneAcceptor) {
    auto acceptor = *Acceptor::create();
    std::string dir = ::testing::TempDir() + "aegis-net-" + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(dir.c_str(), 0700), 0);
    std::vector<std::unique_ptr<Server>> servers;
    for (int i = 0; i < 200; ++i) {
        ServerOptions options;
        options.acceptor = acceptor;
        options.max_connections = 16;
        auto server = Server::listenUnix(dir + "/" + std::to_string(i), 0600, options,
                                         [i](const Request& request, ResponseWriter& writer) {
                                             EXPECT_EQ(request.peer.kind, PeerKind::kUnix);
                                             EXPECT_EQ(request.peer.cred.pid, ::getpid());
                                             (void)writer.send(200, {}, std::to_string(i));
                                         });
        ASSERT_TRUE(server) << server.error().message;
        servers.push_back(std::move(*server));
    }
    EXPECT_EQ(acceptor->threads(), 0U);
    for (int i = 0; i < 200; ++i) {
        auto path = dir + "/" + std::to_string(i);
        struct stat st{};
        ASSERT_EQ(::stat(path.c_str(), &st), 0);
        EXPECT_EQ(st.st_mode & 0777, 0600U);
        auto answer = fetch(*parseEndpoint("unix://" + path), {}, soon());
        ASSERT_TRUE(answer) << answer.error().message;
        EXPECT_EQ(answer->body, std::to_string(i));
    }
    servers.clear();
    EXPECT_EQ(::rmdir(dir.c_str()), 0) << "the socket files must be gone";
}

TEST(Server, TakenAddressIsAConflict) {
    auto server = serveOn(echo);
    auto second = Server::listenTcp("127.0.0.1", server->port(), {}, echo);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
}

}  // namespace
}  // namespace aegis::net
