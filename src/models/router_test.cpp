#include "models/router.h"

#include <gtest/gtest.h>

#include "models/reader_test_util.h"
#include "models/router_test_util.h"

namespace aegis::models {
namespace {

using namespace test;
using Role = ports::Message::Role;

const std::string kHello =
    R"({"model":"m-1","choices":[{"message":{"content":"hello"},"finish_reason":"stop"}],)"
    R"("usage":{"prompt_tokens":1000000,"completion_tokens":500000}})";
const std::string kHalfStream =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hel\"}}]}\n\n";

ProviderPtr provider(std::string name, std::string key = "sk-secret-1") {
    ProviderSettings settings;
    settings.name = std::move(name);
    settings.model = "model-of-" + settings.name;
    settings.api_key = Secret(std::move(key));
    settings.key_hint = "set OPENAI_API_KEY";
    settings.input_per_mtok = 2;
    settings.output_per_mtok = 10;
    settings.timeout_ms = 60'000;
    return makeOpenAiProvider(std::move(settings));
}

Catalog twoProviders() {
    Catalog catalog;
    catalog.providers = {provider("a"), provider("b")};
    catalog.aliases = {{"both", {"a", "b"}}, {"only-b", {"b"}}};
    return catalog;
}

class RouterTest : public testing::Test {
  protected:
    // What is under way tells its sink when the router goes.
    void TearDown() override { router_.reset(); }

    void use(Catalog catalog) {
        auto http = std::make_unique<FakeHttp>();
        auto timers = std::make_unique<ManualTimers>(clock_);
        http_ = http.get();
        timers_ = timers.get();
        router_ = std::make_unique<Router>(std::move(http), std::move(timers), clock_, random_,
                                           std::move(catalog));
    }

    // Starts a call and lets it reach its first transfer.
    Router::CallId start(std::string alias, std::int64_t deadline_ms = 600'000) {
        ports::ModelRequest request;
        request.alias = std::move(alias);
        request.messages = {message(Role::kUser, "hi")};
        ports::ModelSink sink;
        sink.delta = [this](std::string_view text) {
            EXPECT_TRUE(results_.empty()) << "a delta after done()";
            deltas_ += text;
            if (on_delta_) on_delta_();
        };
        sink.done = [this](Result<ports::ModelAnswer> answer) {
            results_.push_back(std::move(answer));
        };
        auto id = router_->start(std::move(request), Deadline::in(clock_.boot(), deadline_ms),
                                 std::move(sink));
        EXPECT_TRUE(results_.empty()) << "done() within start()";
        timers_->advance(0);
        return id;
    }
    const Error& error() {
        static const Error kNone;
        EXPECT_EQ(results_.size(), 1U);
        if (results_.size() != 1 || results_[0]) return kNone;
        return results_[0].error();
    }
    std::string providerOf(std::size_t transfer) {
        std::string_view body = *http_->requests.at(transfer).body;
        return body.contains("model-of-a") ? "a" : "b";
    }

    FakeClock clock_;
    ZeroRandom random_;
    FakeHttp* http_ = nullptr;
    ManualTimers* timers_ = nullptr;
    std::unique_ptr<Router> router_;
    std::string deltas_;
    std::function<void()> on_delta_;
    std::vector<Result<ports::ModelAnswer>> results_;
};

TEST_F(RouterTest, AnswersWithProviderModelAndCost) {
    use(twoProviders());
    start("default");
    ASSERT_EQ(http_->requests.size(), 1U);
    EXPECT_EQ(http_->requests[0].url, "https://api.openai.com/v1/chat/completions");
    EXPECT_EQ(http_->requests[0].deadline.leftMs(clock_.boot()), 60'000);
    EXPECT_EQ(http_->requests[0].connect_timeout_ms, 10'000);
    http_->answer(200, kHello);
    ASSERT_EQ(results_.size(), 1U);
    ASSERT_TRUE(results_[0]);
    EXPECT_EQ(results_[0]->content, "hello");
    EXPECT_EQ(deltas_, "hello");
    EXPECT_EQ(results_[0]->provider, "a");
    EXPECT_EQ(results_[0]->model, "m-1");
    EXPECT_DOUBLE_EQ(results_[0]->usage.cost_usd, 2 + 5);
    EXPECT_EQ(router_->aliases(), (std::vector<std::string>{"both", "default", "only-b"}));
}

TEST_F(RouterTest, NoProviderAndUnknownAliasSayWhatToDo) {
    use({});
    EXPECT_TRUE(router_->aliases().empty());
    start("default");
    EXPECT_EQ(error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(error().message, "no model provider is configured");
    EXPECT_TRUE(error().hint.contains("OPENAI_API_KEY"));
    results_.clear();
    use(twoProviders());
    start("a");
    EXPECT_EQ(error().code, ErrorCode::kNotFound);
    EXPECT_EQ(error().hint, "known aliases: both, default, only-b");
    EXPECT_TRUE(http_->requests.empty());
}

TEST_F(RouterTest, RetriesTwiceWithBackoffThenFallsBack) {
    use(twoProviders());
    start("both");
    http_->answer(500, R"({"error":{"message":"oops"}})");
    timers_->advance(249);
    EXPECT_EQ(http_->requests.size(), 1U);
    timers_->advance(1);
    ASSERT_EQ(http_->requests.size(), 2U);
    http_->fail(ErrorCode::kUnreachable, "Connection refused");
    timers_->advance(499);
    EXPECT_EQ(http_->requests.size(), 2U);
    timers_->advance(1);
    ASSERT_EQ(http_->requests.size(), 3U);
    EXPECT_EQ(providerOf(2), "a");
    http_->answer(429, "");
    timers_->advance(0);
    ASSERT_EQ(http_->requests.size(), 4U);
    EXPECT_EQ(providerOf(3), "b");
    http_->answer(200, kHello);
    ASSERT_TRUE(results_.at(0));
    EXPECT_EQ(results_[0]->provider, "b");
}

TEST_F(RouterTest, WhenAllFailTheErrorNamesThemAll) {
    use(twoProviders());
    start("both");
    http_->answer(401, R"({"error":{"message":"Incorrect API key provided: sk-secret-1"}})");
    timers_->advance(0);
    http_->fail(ErrorCode::kTimeout, "no bytes");
    timers_->advance(60'000);
    EXPECT_EQ(http_->requests.size(), 2U);
    EXPECT_EQ(error().code, ErrorCode::kTimeout);
    EXPECT_EQ(error().message,
              "provider \"a\" refused the API key (HTTP 401): Incorrect API key provided: ***; "
              "provider \"b\" gave no whole answer in time (60 s): no bytes");
}

struct Final {
    int status;
    ErrorCode code;
    std::string message;
};

TEST_F(RouterTest, WhatIsNeverRetried) {
    const std::vector<Final> table{
        {400, ErrorCode::kInvalid, "provider \"b\" refused the request (HTTP 400): why"},
        {401, ErrorCode::kUnauthenticated, "provider \"b\" refused the API key (HTTP 401): why"},
        {403, ErrorCode::kPermissionDenied, "provider \"b\" does not permit this (HTTP 403): why"},
        {404, ErrorCode::kNotFound,
         "provider \"b\" does not know the model \"model-of-b\" or the address (HTTP 404): why"},
        {413, ErrorCode::kTooLarge, "provider \"b\" finds the request too large (HTTP 413): why"},
        {302, ErrorCode::kUnavailable,
         "provider \"b\" gave an answer that is none (HTTP 302): why"},
    };
    for (const Final& row : table) {
        results_.clear();
        use(twoProviders());
        start("only-b");
        http_->answer(row.status, R"({"error":{"message":"why"}})");
        timers_->advance(60'000);
        EXPECT_EQ(http_->requests.size(), 1U) << row.status;
        EXPECT_EQ(error().code, row.code) << row.status;
        EXPECT_EQ(error().message, row.message);
    }
}

TEST_F(RouterTest, WhatIsRetriedAndTheMessageAtTheEnd) {
    const std::vector<Final> table{
        {408, ErrorCode::kTimeout, "provider \"b\" gave up waiting (HTTP 408): why"},
        {429, ErrorCode::kTooMany,
         "provider \"b\" limits the rate or the quota is used up (HTTP 429): why"},
        {500, ErrorCode::kUnavailable, "provider \"b\" failed (HTTP 500): why"},
        {503, ErrorCode::kUnavailable, "provider \"b\" failed (HTTP 503): why"},
    };
    for (const Final& row : table) {
        results_.clear();
        use(twoProviders());
        start("only-b");
        for (int attempt = 0; attempt < 3; ++attempt) {
            ASSERT_TRUE(results_.empty());
            http_->answer(row.status, R"({"error":{"message":"why"}})");
            timers_->advance(1000);
        }
        EXPECT_EQ(http_->requests.size(), 3U) << row.status;
        EXPECT_EQ(error().code, row.code);
        EXPECT_EQ(error().message, row.message);
    }
}

TEST_F(RouterTest, RetryAfterIsHonouredUpTo20Seconds) {
    use(twoProviders());
    start("both");
    http_->answer(429, "", {{"Retry-After", "7"}});
    timers_->advance(6'999);
    EXPECT_EQ(http_->requests.size(), 1U);
    timers_->advance(1);
    ASSERT_EQ(http_->requests.size(), 2U);
    http_->answer(429, "", {{"retry-after", "21"}});
    timers_->advance(0);
    ASSERT_EQ(http_->requests.size(), 3U);
    EXPECT_EQ(providerOf(2), "b");
}

TEST_F(RouterTest, NothingIsTriedBeyondTheDeadline) {
    use(twoProviders());
    start("only-b", 5000);
    EXPECT_EQ(http_->requests[0].deadline.leftMs(clock_.boot()), 5000);
    http_->answer(503, "", {{"Retry-After", "6"}});
    EXPECT_EQ(error().code, ErrorCode::kUnavailable);
    timers_->advance(60'000);
    EXPECT_EQ(http_->requests.size(), 1U);

    results_.clear();
    start("both", 1000);
    clock_.advance(1000);
    http_->fail(ErrorCode::kTimeout);
    EXPECT_EQ(error().code, ErrorCode::kTimeout);
    EXPECT_EQ(http_->requests.size(), 2U);
}

TEST_F(RouterTest, NoSecondAttemptOnceTextWasDelivered) {
    use(twoProviders());
    start("both");
    ASSERT_TRUE(http_->send(200, kHalfStream));
    EXPECT_EQ(deltas_, "hel");
    http_->end(200, {}, Error(ErrorCode::kIo, "reset"));
    timers_->advance(60'000);
    EXPECT_EQ(http_->requests.size(), 1U);
    EXPECT_EQ(error().code, ErrorCode::kUnreachable);
    EXPECT_EQ(error().message,
              "provider \"a\": the connection broke in the middle of the answer: reset");
}

TEST_F(RouterTest, ACutBeforeAnyTextIsTriedAgain) {
    use(twoProviders());
    start("both");
    ASSERT_TRUE(http_->send(200, ": comment\n\n"));
    http_->end(200);
    timers_->advance(250);
    ASSERT_EQ(http_->requests.size(), 2U);
    http_->answer(200, kHello);
    EXPECT_TRUE(results_.at(0));
}

TEST_F(RouterTest, AnAnswerThatMakesNoSenseIsFinal) {
    use(twoProviders());
    start("both");
    http_->answer(200, "data: garbage\n\n");
    timers_->advance(60'000);
    EXPECT_EQ(http_->requests.size(), 1U);
    EXPECT_TRUE(error().message.starts_with("provider \"a\": the answer makes no sense: "))
        << error().message;
}

TEST_F(RouterTest, TooLargeIsAbortedAndFinal) {
    use(twoProviders());
    start("both");
    EXPECT_FALSE(http_->send(200, "data: " + std::string(9U << 20, 'x')));
    http_->end(200, {}, Error(ErrorCode::kCancelled, "aborted"));
    EXPECT_EQ(error().code, ErrorCode::kTooLarge);
    EXPECT_TRUE(error().message.contains("larger than 8388608 bytes")) << error().message;
}

TEST_F(RouterTest, DoneComesWithTheLastByteOfTheAnswerNotOfTheBody) {
    use(twoProviders());
    start("default");
    http_->send(200,
                kHalfStream +
                    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"
                    "\n\ndata: [DONE]\n\n");
    ASSERT_EQ(results_.size(), 1U);
    EXPECT_EQ(results_[0]->content, "hel");
    EXPECT_TRUE(http_->send(200, "more"));
    http_->end(200);
    EXPECT_EQ(results_.size(), 1U);
}

TEST_F(RouterTest, CancelAbortsATransferAWaitAndAnAnswerUnderWay) {
    use(twoProviders());
    auto in_transfer = start("both");
    http_->send(200, kHalfStream);
    router_->cancel(in_transfer);
    EXPECT_EQ(http_->cancelled, 1U);
    EXPECT_EQ(http_->open(), 0U);
    EXPECT_TRUE(results_.empty());
    timers_->advance(0);
    EXPECT_EQ(error().code, ErrorCode::kCancelled);
    router_->cancel(in_transfer);
    timers_->advance(0);
    EXPECT_EQ(results_.size(), 1U);

    results_.clear();
    auto in_backoff = start("both");
    http_->answer(500, "");
    router_->cancel(in_backoff);
    timers_->advance(60'000);
    EXPECT_EQ(error().code, ErrorCode::kCancelled);
    EXPECT_EQ(http_->requests.size(), 2U);
    EXPECT_EQ(timers_->size(), 0U);
    router_->cancel(12345);
}

TEST_F(RouterTest, TextThatComesTogetherIsToldTogether) {
    use(twoProviders());
    start("both");
    int deltas = 0;
    on_delta_ = [&] { ++deltas; };
    http_->send(200, kHalfStream + kHalfStream);
    EXPECT_EQ(deltas_, "helhel");
    EXPECT_EQ(deltas, 1);
    http_->send(200, kHalfStream);
    EXPECT_EQ(deltas_, "helhelhel");
    EXPECT_EQ(deltas, 2);
}

TEST_F(RouterTest, CancelFromWithinADeltaStopsTheDeltas) {
    use(twoProviders());
    auto id = start("both");
    on_delta_ = [&] { router_->cancel(id); };
    // The rest of the answer is there already.
    const std::string rest =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
        "data: [DONE]\n\n";
    http_->send(200, kHalfStream + rest);
    EXPECT_EQ(deltas_, "hel");
    EXPECT_TRUE(results_.empty());
    timers_->advance(0);
    EXPECT_EQ(error().code, ErrorCode::kCancelled);
}

TEST_F(RouterTest, TheDestructorCancelsWhatIsUnderWay) {
    use(twoProviders());
    start("both");
    router_.reset();
    EXPECT_EQ(error().code, ErrorCode::kCancelled);
}

TEST_F(RouterTest, AProviderWithoutItsKeyIsAnErrorOnUseAndFallsBack) {
    Catalog catalog;
    catalog.providers = {provider("a", ""), provider("b")};
    catalog.aliases["both"] = {"a", "b"};
    use(catalog);
    start("default");
    EXPECT_EQ(error().code, ErrorCode::kUnauthenticated);
    EXPECT_EQ(error().message, "provider \"a\" has no API key");
    EXPECT_EQ(error().hint, "set OPENAI_API_KEY");
    results_.clear();
    start("both");
    timers_->advance(0);
    ASSERT_EQ(http_->requests.size(), 1U);
    EXPECT_EQ(providerOf(0), "b");
}

TEST_F(RouterTest, ReloadLeavesCallsUnderWayAlone) {
    use(twoProviders());
    start("both");
    Catalog other;
    other.providers = {provider("b")};
    router_->reload(other);
    EXPECT_EQ(router_->aliases(), std::vector<std::string>{"default"});
    http_->answer(500, "");
    timers_->advance(250);
    EXPECT_EQ(providerOf(1), "a");
    http_->answer(200, kHello);
    EXPECT_EQ(results_.at(0)->provider, "a");
}

TEST_F(RouterTest, ScriptedProviderStreamsAndFailsClearly) {
    auto script =
        Script::parse("- {match: hi, turns: [{content: \"one two three four\"}]}", "s.yaml");
    ASSERT_TRUE(script);
    ProviderSettings settings;
    settings.name = "offline";
    settings.model = "scripted";
    Catalog catalog;
    catalog.providers = {makeScriptedProvider(settings, std::move(*script))};
    use(catalog);
    int deltas = 0;
    on_delta_ = [&] { ++deltas; };
    start("default");
    ASSERT_TRUE(results_.at(0)) << results_[0].error().message;
    EXPECT_EQ(deltas_, "one two three four");
    EXPECT_GT(deltas, 1);
    EXPECT_EQ(results_[0]->provider, "offline");
    EXPECT_EQ(results_[0]->model, "scripted");
}

class OllamaProbe : public RouterTest {
  protected:
    void SetUp() override {
        Catalog catalog;
        catalog.probe_ollama = true;
        use(catalog);
        ASSERT_EQ(http_->requests.size(), 1U);
        EXPECT_EQ(http_->requests[0].url, "http://localhost:11434/api/tags");
        EXPECT_EQ(http_->requests[0].deadline.leftMs(clock_.boot()), 300);
    }
};

TEST_F(OllamaProbe, ACallWaitsForItAndUsesWhatIsFound) {
    start("default");
    EXPECT_EQ(http_->requests.size(), 1U);
    http_->answer(200, R"({"models":[{"name":"qwen:7b"},{"name":"x"}]})");
    timers_->advance(0);
    ASSERT_EQ(http_->requests.size(), 2U);
    EXPECT_EQ(http_->requests[1].url, "http://localhost:11434/v1/chat/completions");
    EXPECT_TRUE(http_->requests[1].body->contains("qwen:7b"));
    EXPECT_TRUE(http_->requests[1].secret_headers.empty());
    EXPECT_EQ(router_->aliases(), std::vector<std::string>{"default"});
}

TEST_F(RouterTest, AnAliasThatNamesOllamaWaitsForTheProbeAndOthersDoNot) {
    Catalog catalog;
    catalog.providers = {provider("a")};
    catalog.aliases = {{"default", {"a"}}, {"local", {"ollama"}}, {"mixed", {"ollama", "a"}}};
    catalog.probe_ollama = true;
    use(catalog);
    start("mixed");
    EXPECT_EQ(http_->requests.size(), 1U);
    http_->fail(ErrorCode::kUnreachable);
    timers_->advance(0);
    ASSERT_EQ(http_->requests.size(), 2U);
    EXPECT_EQ(providerOf(1), "a");
    http_->answer(200, kHello);
    results_.clear();
    start("local");
    EXPECT_EQ(error().message, "no provider of the model alias \"local\" is there: ollama");
    results_.clear();
    router_->reload(catalog);
    start("default");
    EXPECT_EQ(http_->requests.size(), 4U);
}

TEST_F(OllamaProbe, NothingFoundIsTheUsualError) {
    start("default");
    http_->fail(ErrorCode::kUnreachable);
    timers_->advance(0);
    EXPECT_EQ(error().message, "no model provider is configured");
}

TEST_F(OllamaProbe, ACallThatWaitsCanBeCancelled) {
    router_->cancel(start("default"));
    timers_->advance(0);
    EXPECT_EQ(error().code, ErrorCode::kCancelled);
    http_->answer(200, "{}");
    timers_->advance(0);
    EXPECT_EQ(results_.size(), 1U);
}

TEST(RetryAfter, SecondsMillisecondsAndDates) {
    UtcTime now = *UtcTime::parse("2026-02-23T10:00:01.000Z");
    auto parse = [&](std::string value) { return retryAfterMs({{"Retry-After", value}}, now); };
    EXPECT_EQ(parse("3"), 3000);
    EXPECT_EQ(parse("Mon, 23 Feb 2026 10:00:11 GMT"), 10'000);
    EXPECT_EQ(parse("Mon, 23 Feb 2026 09:00:11 GMT"), 0);
    for (auto bad : {"", "-1", "1.5", "x", "Mon, 23 Foo 2026 10:00:11 GMT", "99999999999999999999"})
        EXPECT_FALSE(parse(bad)) << bad;
    EXPECT_EQ(retryAfterMs({{"retry-after-ms", "1500"}, {"retry-after", "9"}}, now), 1500);
    EXPECT_FALSE(retryAfterMs({}, now));
}

}  // namespace
}  // namespace aegis::models
