#include "tools/web/web_fetch.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "text/json.h"

namespace aegis::tools {
namespace {

using Verdict = ports::ToolAdmission::Verdict;

class FakeWeb : public ports::Web {
  public:
    Status check(const std::string& url) const override {
        if (url == "bad") return {ErrorCode::kInvalid, "not a URL"};
        return {};
    }
    void fetch(ports::WebRequest request,
               std::function<void(Result<ports::WebAnswer>)> done) override {
        last = std::move(request);
        done(answer);
    }
    std::optional<ports::WebRequest> last;
    Result<ports::WebAnswer> answer = ports::WebAnswer{};
};

class WebFetchTest : public ::testing::Test {
  protected:
    ports::ToolAdmission admit(std::string arguments) {
        return WebFetch(web_).admit({.name = "web.fetch", .arguments = std::move(arguments)});
    }
    ports::ToolOutcome run(Result<ports::WebAnswer> answer) {
        web_.answer = std::move(answer);
        ports::ToolContext context;
        agent::Manifest manifest;
        manifest.security.network = {agent::NetworkMode::kAllow, {"a.test"}, {}};
        // Shared: as ToolContext wants it.
        context.manifest = std::make_shared<const agent::Manifest>(manifest);
        ports::ToolOutcome out;
        WebFetch(web_).run(context,
                           {.name = "web.fetch", .arguments = R"({"url":"http://a.test/"})"},
                           Deadline::never(), [&out](auto outcome) { out = std::move(outcome); });
        return out;
    }
    FakeWeb web_;
};

TEST_F(WebFetchTest, Admits) {
    auto good = admit(R"({"url":"http://a.test/x"})");
    EXPECT_EQ(good.verdict, Verdict::kRun);
    EXPECT_FALSE(good.barrier);
    EXPECT_EQ(good.summary, "http://a.test/x");
    EXPECT_EQ(admit(R"({"url":"bad"})").reason, "web.fetch bad: not a URL");
    EXPECT_EQ(admit("{}").reason, "web.fetch: argument \"url\" is missing");
    EXPECT_EQ(admit(R"({"url":7})").verdict, Verdict::kRefused);
    EXPECT_EQ(admit(R"({"url":"http://a.test","method":"POST"})").verdict, Verdict::kRefused);
    EXPECT_EQ(admit("[").verdict, Verdict::kRefused);
}

TEST_F(WebFetchTest, TellsTheModelThePage) {
    auto out =
        run(ports::WebAnswer{200, "http://a.test/y", "text/html", "<p>\"x\"</p>\xFF", false});
    EXPECT_TRUE(out.ok);
    EXPECT_EQ(out.summary, "http://a.test/");
    auto told = json::parse(out.text);
    ASSERT_TRUE(told) << out.text;
    EXPECT_EQ(json::getInt(*told, "status"), 200);
    EXPECT_EQ(json::getString(*told, "url"), "http://a.test/y");
    EXPECT_EQ(json::getString(*told, "content_type"), "text/html");
    EXPECT_EQ(json::getString(*told, "body"), "<p>\"x\"</p>\xEF\xBF\xBD");
    EXPECT_FALSE(json::getBool(*told, "truncated"));
    ASSERT_TRUE(web_.last);
    EXPECT_EQ(web_.last->max_bytes, kMaxPageBytes);
    EXPECT_EQ(web_.last->network.allowlist, std::vector<std::string>{"a.test"});
}

TEST_F(WebFetchTest, TellsOfFailures) {
    auto out = run(ports::WebAnswer{404, "http://a.test/", "", "none", false});
    EXPECT_FALSE(out.ok);
    EXPECT_EQ(out.reason, "HTTP 404");
    EXPECT_TRUE(out.text.starts_with("{\"status\":404,")) << out.text;
    out = run(Error(ErrorCode::kPermissionDenied, "not in the allowlist"));
    EXPECT_FALSE(out.ok);
    EXPECT_EQ(out.reason, "web.fetch http://a.test/: not in the allowlist");
    EXPECT_EQ(out.text, out.reason);
}

TEST_F(WebFetchTest, ACutCharacterIsLeftOut) {
    auto out = run(ports::WebAnswer{200, "http://a.test/", "text/plain", "ab\xC3", true});
    auto told = json::parse(out.text);
    ASSERT_TRUE(told) << out.text;
    EXPECT_EQ(json::getString(*told, "body"), "ab");
    EXPECT_TRUE(json::getBool(*told, "truncated"));
}

}  // namespace
}  // namespace aegis::tools
