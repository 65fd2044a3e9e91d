#include <gtest/gtest.h>

#include "cli/commands.h"
#include "cli/patience.h"

namespace aegis::cli {
namespace {

/// A list of `total` numbers in pages of at most `most`.
PageSource numbers(int total, int most, std::vector<int>& asked) {
    return [=, &asked](int limit, const std::string& cursor) -> Result<json::Value> {
        asked.push_back(limit);
        int from = cursor.empty() ? 0 : std::stoi(cursor);
        int to = std::min(total, from + (limit == 0 ? most : std::min(limit, most)));
        json::Array items;
        for (int i = from; i < to; ++i)
            items.push_back(json::Value(i));
        return json::Value(json::Object{
            {"items", std::move(items)},
            {"next_cursor", to < total ? json::Value(std::to_string(to)) : json::Value(nullptr)}});
    };
}

TEST(CollectPages, FollowsCursorsUpToTheLimit) {
    std::vector<int> asked;
    auto all = collectPages(2500, numbers(10'000, 1000, asked));
    ASSERT_TRUE(all);
    const auto& items = all->as_array();
    ASSERT_EQ(items.size(), 2500U);
    for (std::size_t i = 0; i < items.size(); ++i)
        EXPECT_EQ(items[i].as_int64(), static_cast<std::int64_t>(i));
    EXPECT_EQ(asked, (std::vector<int>{1000, 1000, 500}));
}

TEST(CollectPages, StopsAtTheEnd) {
    std::vector<int> asked;
    EXPECT_EQ(collectPages(2500, numbers(1200, 1000, asked))->as_array().size(), 1200U);
    EXPECT_EQ(collectPages(50, numbers(50, 1000, asked))->as_array().size(), 50U);
    EXPECT_EQ(collectPages(50, numbers(0, 1000, asked))->as_array().size(), 0U);
    EXPECT_EQ(collectPages(0, numbers(1200, 1000, asked))->as_array().size(), 1200U);
}

TEST(CollectPages, AnErrorIsOne) {
    auto failing = [](int, const std::string& cursor) -> Result<json::Value> {
        if (!cursor.empty()) return {ErrorCode::kUnreachable, "gone"};
        return json::Value(json::Object{{"items", json::Array{1}}, {"next_cursor", "2"}});
    };
    auto all = collectPages(10, failing);
    ASSERT_FALSE(all);
    EXPECT_EQ(all.error().code, ErrorCode::kUnreachable);
}

TEST(ParseSince, DurationsAndTimes) {
    UtcTime now{10'000'000};
    EXPECT_EQ(*parseSince("1h", now), (UtcTime{10'000'000 - 3'600'000}));
    EXPECT_EQ(*parseSince("1970-01-01T00:00:01.000Z", now), UtcTime{1000});
    EXPECT_FALSE(*parseSince("", now));
    EXPECT_FALSE(parseSince("yesterday", now));
}

/// Time passes only when it is asked for.
class Ticking : public Clock {
  public:
    UtcTime utc() override { return {0}; }
    BootTime boot() override { return {(ns_ += 12'000'000'000)}; }

  private:
    std::int64_t ns_ = 0;
};

TEST(Patiently, WaitsForADaemonThatRestarts) {
    Ticking clock;
    int calls = 0;
    auto third = [&]() -> Result<int> {
        if (++calls < 3) return {ErrorCode::kUnreachable, "away"};
        return 7;
    };
    EXPECT_EQ(*patiently(clock, Deadline::never(), third), 7);
    EXPECT_EQ(calls, 3);
}

TEST(Patiently, ButNotForEver) {
    Ticking clock;
    auto away = []() -> Result<int> { return {ErrorCode::kUnreachable, "away"}; };
    EXPECT_FALSE(patiently(clock, Deadline::never(), away));
    int calls = 0;
    auto wrong = [&]() -> Result<int> {
        ++calls;
        return {ErrorCode::kNotFound, "no"};
    };
    EXPECT_FALSE(patiently(clock, Deadline::never(), wrong));
    EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace aegis::cli
