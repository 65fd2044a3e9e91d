#include "egress/fetcher.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <future>
#include <map>
#include <mutex>

#include "net/server.h"
#include "os/clock.h"
#include "os/socket.h"

namespace aegis::egress {
namespace {

Deadline soon(std::int64_t ms = 20'000) { return Deadline::in(os::systemClock().boot(), ms); }

/// Every name leads to loopback, but for those given.
class Names : public Resolver {
  public:
    Result<std::vector<IpAddress>> resolve(const std::string& name, Deadline, int) override {
        ++asked;
        if (name == "none.test") return {ErrorCode::kUnreachable, "no such name"};
        std::vector<IpAddress> out{*IpAddress::parse("127.0.0.1")};
        if (name == "rebind.test") out.push_back(*IpAddress::parse("10.0.0.1"));
        return out;
    }
    std::atomic<int> asked = 0;
};

class FetcherTest : public testing::Test {
  protected:
    void SetUp() override {
        net::ServerOptions options;
        auto server = net::Server::listenTcp("127.0.0.1", 0, std::move(options),
                                             [this](const auto& r, auto& w) { serve(r, w); });
        ASSERT_TRUE(server) << server.error().message;
        server_ = std::move(*server);
        FetcherOptions fetch;
        fetch.allow_private = {"127.0.0.0/8"};
        fetch.max_response_bytes = 100'000;
        fetch.max_of_one = 2;
        auto names = std::make_unique<Names>();
        names_ = names.get();
        auto fetcher = Fetcher::create(std::move(fetch), std::move(names));
        ASSERT_TRUE(fetcher) << fetcher.error().message;
        fetcher_ = std::move(*fetcher);
        network_ = {agent::NetworkMode::kAllow,
                    {"good.test", "*.wild.test", "none.test", "rebind.test", "10.0.0.9"},
                    {"bad.wild.test"}};
    }
    void TearDown() override {
        fetcher_.reset();
        server_->stop(soon(500));
    }

    void serve(const net::Request& request, net::ResponseWriter& writer) {
        {
            std::lock_guard lock(mutex_);
            seen_.push_back(std::string(request.headers.get("Host")) + request.path);
            headers_ = request.headers;
        }
        auto to = [&](std::string location) {
            (void)writer.send(302, {{"Location", std::move(location)}}, "elsewhere");
        };
        const auto& path = request.path;
        if (path == "/relative") return to("hop");
        if (path == "/hop") return to("/page");
        if (path == "/round") return to("/round");
        if (path == "/metadata") return to("http://169.254.169.254/latest");
        if (path == "/other") return to(url("other.test", "/page"));
        if (path == "/file") return to("file:///etc/passwd");
        if (path == "/user") return to("http://u:p@good.test/");
        if (path == "/large") return answer(writer, "text/plain", std::string(150'000, 'x'));
        if (path == "/png") return answer(writer, "image/png", "\x89PNG");
        if (path == "/untyped") return answer(writer, "", std::string("a\0b", 3));
        if (path == "/gone") {
            (void)writer.send(404, {{"Content-Type", "text/plain"}}, "not here");
            return;
        }
        if (path == "/packed") {
            (void)writer.send(200, {{"Content-Type", "text/plain"}, {"Content-Encoding", "gzip"}},
                              "\x1f\x8b");
            return;
        }
        if (path == "/silent") {
            waiting_.signal();
            (void)os::waitReady(writer.socket(), POLLRDHUP, soon());
            return;
        }
        answer(writer, "text/html; charset=utf-8", "<p>page</p>");
    }
    static void answer(net::ResponseWriter& writer, const std::string& type, std::string body) {
        wire::Headers headers;
        if (!type.empty()) headers.add("Content-Type", type);
        (void)writer.send(200, headers, std::move(body));
    }

    std::string url(const std::string& host, const std::string& path) const {
        return "http://" + host + ":" + std::to_string(server_->port()) + path;
    }
    ports::WebRequest request(std::string text) {
        ports::WebRequest out;
        out.network = network_;
        out.url = std::move(text);
        out.max_bytes = 200'000;
        out.deadline = soon();
        out.stop = stop_.get_token();
        out.decided = [this](execution::EgressDecided data) {
            std::lock_guard lock(mutex_);
            decided_.push_back(std::move(data));
        };
        return out;
    }
    std::future<Result<ports::WebAnswer>> begin(ports::WebRequest request) {
        auto promise = std::make_shared<std::promise<Result<ports::WebAnswer>>>();
        fetcher_->fetch(std::move(request),
                        [promise](auto answer) { promise->set_value(std::move(answer)); });
        return promise->get_future();
    }
    Result<ports::WebAnswer> fetch(std::string text) {
        return begin(request(std::move(text))).get();
    }
    std::string refusal(std::string text, ErrorCode code = ErrorCode::kPermissionDenied) {
        auto answer = fetch(std::move(text));
        EXPECT_FALSE(answer);
        if (answer) return {};
        EXPECT_EQ(answer.error().code, code) << answer.error().message;
        return answer.error().message;
    }

    std::mutex mutex_;
    std::vector<std::string> seen_;
    wire::Headers headers_;
    std::vector<execution::EgressDecided> decided_;
    os::EventFd waiting_;
    std::stop_source stop_;
    std::unique_ptr<net::Server> server_;
    Names* names_ = nullptr;
    agent::NetworkSpec network_;
    std::unique_ptr<Fetcher> fetcher_;
};

TEST_F(FetcherTest, FetchesAPage) {
    ::setenv("http_proxy", "http://127.0.0.1:1", 1);
    auto answer = fetch(url("good.test", "/page#part"));
    ::unsetenv("http_proxy");
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "<p>page</p>");
    EXPECT_EQ(answer->content_type, "text/html; charset=utf-8");
    EXPECT_EQ(answer->url, url("good.test", "/page"));
    EXPECT_FALSE(answer->truncated);
    EXPECT_EQ(headers_.find("Accept-Encoding"), nullptr);
    EXPECT_EQ(headers_.find("Cookie"), nullptr);
    EXPECT_EQ(headers_.find("Authorization"), nullptr);
    ASSERT_EQ(decided_.size(), 1U);
    EXPECT_TRUE(decided_[0].allowed);
    EXPECT_EQ(decided_[0].host, "good.test");
    EXPECT_EQ(decided_[0].port, server_->port());
    EXPECT_EQ(decided_[0].reason, "");
    EXPECT_GT(decided_[0].bytes, 50U);
}

TEST_F(FetcherTest, AStatusIsAnAnswer) {
    auto answer = fetch(url("a.wild.test", "/gone"));
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->status, 404);
    EXPECT_EQ(answer->body, "not here");
}

TEST_F(FetcherTest, WhatThePolicyRefusesIsNeverAskedFor) {
    EXPECT_EQ(refusal(url("evil.test", "/")), "not in the allowlist");
    EXPECT_EQ(refusal(url("bad.wild.test", "/")), "denylist: bad.wild.test");
    EXPECT_EQ(refusal("http://127.0.0.1/"), "not in the allowlist");
    EXPECT_EQ(names_->asked, 0);
    EXPECT_EQ(refusal(url("rebind.test", "/")), "10.0.0.1 is a private address");
    EXPECT_EQ(refusal("http://10.0.0.9/"), "10.0.0.9 is a private address");
    network_ = {};
    EXPECT_EQ(refusal(url("good.test", "/")), "network.mode is none");
    EXPECT_EQ(refusal(url("none.test", "/")), "network.mode is none");
    network_ = {agent::NetworkMode::kDeny, {}, {"other.test"}};
    EXPECT_EQ(refusal("http://[::ffff:169.254.169.254]/"), "169.254.169.254 is a metadata address");
    EXPECT_EQ(refusal("http://[::1]/"), "::1 is a loopback address");
    EXPECT_TRUE(seen_.empty());
    EXPECT_EQ(decided_.size(), 9U);
    for (const auto& each : decided_)
        EXPECT_FALSE(each.allowed) << each.host;
}

TEST_F(FetcherTest, NamesThatDoNotExist) {
    EXPECT_EQ(refusal(url("none.test", "/"), ErrorCode::kUnreachable), "no such name");
    ASSERT_EQ(decided_.size(), 1U);
    EXPECT_TRUE(decided_[0].allowed);
}

TEST_F(FetcherTest, EachRedirectIsADecision) {
    auto answer = fetch(url("good.test", "/relative"));
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->url, url("good.test", "/page"));
    EXPECT_EQ(decided_.size(), 3U);
    decided_.clear();
    EXPECT_EQ(refusal(url("good.test", "/metadata")),
              "redirected to http://169.254.169.254/latest: not in the allowlist");
    EXPECT_EQ(refusal(url("good.test", "/other")),
              "redirected to " + url("other.test", "/page") + ": not in the allowlist");
    ASSERT_EQ(decided_.size(), 4U);
    EXPECT_TRUE(decided_[2].allowed);
    EXPECT_FALSE(decided_[3].allowed);
    EXPECT_EQ(decided_[3].host, "other.test");
    EXPECT_EQ(refusal(url("good.test", "/file"), ErrorCode::kInvalid),
              "redirected: only http and https URLs are fetched");
    EXPECT_EQ(refusal(url("good.test", "/user"), ErrorCode::kInvalid),
              "redirected: a URL with a user or a password is not allowed");
    seen_.clear();
    EXPECT_EQ(refusal(url("good.test", "/round"), ErrorCode::kIo), "more than 5 redirects");
    EXPECT_EQ(seen_.size(), 6U);
}

TEST_F(FetcherTest, WhatIsNoTextIsRefused) {
    EXPECT_EQ(refusal(url("good.test", "/png"), ErrorCode::kUnsupported),
              "HTTP 200: the answer is image/png, not text");
    EXPECT_EQ(refusal(url("good.test", "/packed"), ErrorCode::kUnsupported),
              "HTTP 200: the answer is compressed (gzip)");
    EXPECT_EQ(refusal(url("good.test", "/untyped"), ErrorCode::kUnsupported),
              "HTTP 200: the answer is not text");
    EXPECT_TRUE(isText("application/problem+json;q=1"));
    EXPECT_TRUE(isText("Application/JSON"));
    EXPECT_TRUE(isText(""));
    EXPECT_FALSE(isText("application/octet-stream"));
    EXPECT_FALSE(isText("image/svg+xml"));
}

TEST_F(FetcherTest, LargeAnswersAreCutOff) {
    auto small = request(url("good.test", "/large"));
    small.max_bytes = 1000;
    auto answer = begin(std::move(small)).get();
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body, std::string(1000, 'x'));
    EXPECT_TRUE(answer->truncated);
    // The node's own limit.
    answer = fetch(url("good.test", "/large"));
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body.size(), 100'000U);
    EXPECT_TRUE(answer->truncated);
    auto exact = request(url("good.test", "/page"));
    exact.max_bytes = 11;
    answer = begin(std::move(exact)).get();
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_FALSE(answer->truncated);
}

TEST_F(FetcherTest, EndsAtItsDeadline) {
    auto late = request(url("good.test", "/silent"));
    late.deadline = soon(200);
    auto answer = begin(std::move(late)).get();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kTimeout) << answer.error().message;
}

TEST_F(FetcherTest, EndsWhenItIsNotWantedAnyMore) {
    auto first = begin(request(url("good.test", "/silent")));
    auto second = begin(request(url("good.test", "/silent")));
    EXPECT_EQ(refusal(url("good.test", "/page"), ErrorCode::kTooMany), "too many fetches at once");
    EXPECT_TRUE(os::waitReady(waiting_.fd(), POLLIN, soon()));
    stop_.request_stop();
    EXPECT_EQ(first.get().error().code, ErrorCode::kCancelled);
    EXPECT_EQ(second.get().error().code, ErrorCode::kCancelled);
    stop_ = std::stop_source();
    EXPECT_TRUE(fetch(url("good.test", "/page")));
}

TEST_F(FetcherTest, EndsWithTheDaemon) {
    auto running = begin(request(url("good.test", "/silent")));
    EXPECT_TRUE(os::waitReady(waiting_.fd(), POLLIN, soon()));
    fetcher_.reset();
    EXPECT_EQ(running.get().error().code, ErrorCode::kCancelled);
}

TEST_F(FetcherTest, ChecksAUrlWithoutAskingAnybody) {
    EXPECT_TRUE(fetcher_->check("https://anything.test/x"));
    for (const char* text : {"", "x", "ftp://good.test/", "http://u@good.test/",
                             "http://127.1.x.0/", "http://bad_-.test/"})
        EXPECT_FALSE(fetcher_->check(text)) << text;
    EXPECT_EQ(names_->asked, 0);
}

}  // namespace
}  // namespace aegis::egress
