#include "os/stock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

namespace aegis::os {
namespace {

/// Numbers as things, strings as kinds.
class StockTest : public ::testing::Test {
  protected:
    using Numbers = Stock<std::string, int>;

    void open(StockLimits limits) {
        stock_ = std::make_unique<Numbers>(
            limits, Numbers::Trade{[this](const std::string& kind) -> Result<int> {
                                       if (kind == "none") return {ErrorCode::kIo, "cannot"};
                                       return ++made_;
                                   },
                                   [this](int number) {
                                       std::lock_guard lock(mutex_);
                                       discarded_.insert(number);
                                   },
                                   [this](int number) { return number != spoilt_; }});
    }
    static bool waitFor(const std::function<bool()>& ready) {
        const auto deadline = Deadline::in(systemClock().boot(), 30'000);
        while (!ready()) {
            if (deadline.passed(systemClock().boot())) return false;
            pauseMs(1);
        }
        return true;
    }
    int takeSoon(const std::string& kind) {
        std::optional<int> taken;
        EXPECT_TRUE(waitFor([&] { return (taken = stock_->take(kind)).has_value(); }));
        return taken.value_or(-1);
    }
    std::set<int> discarded() {
        std::lock_guard lock(mutex_);
        return discarded_;
    }

    std::atomic<int> made_ = 0;
    std::atomic<int> spoilt_ = -1;
    std::mutex mutex_;
    std::set<int> discarded_;
    std::unique_ptr<Numbers> stock_;
};

TEST_F(StockTest, ANumberOfItsOwnMayBeAskedForOfAKind) {
    open({.each = 1, .kinds = 3, .idle_ms = 60'000});
    stock_->restock("a", 3);
    stock_->restock("b", 0);
    stock_->restock("c");
    EXPECT_TRUE(waitFor([&] { return stock_->size() == 4; }));
    EXPECT_FALSE(stock_->take("b"));
    stock_->restock("a", 3);
    EXPECT_EQ(made_, 4);
    open({.each = 0, .kinds = 3, .idle_ms = 60'000});
    stock_->restock("a");
    stock_->restock("a", 2);
    EXPECT_TRUE(waitFor([&] { return stock_->size() == 2; }));
}

TEST_F(StockTest, MakesWhatIsMissingAndGivesEachOnce) {
    open({.each = 2, .kinds = 2, .idle_ms = 60'000});
    EXPECT_FALSE(stock_->take("a"));
    stock_->restock("a");
    stock_->restock("a");
    const int first = takeSoon("a");
    const int second = takeSoon("a");
    EXPECT_NE(first, second);
    EXPECT_FALSE(stock_->take("a")) << "two, however often they were asked for";
    EXPECT_EQ(made_, 2);
    stock_->restock("a");
    EXPECT_EQ(takeSoon("a"), 3);
    stock_->stop();
    EXPECT_FALSE(stock_->take("a"));
    EXPECT_FALSE(discarded().contains(first));
    EXPECT_FALSE(discarded().contains(3));
    EXPECT_EQ(discarded().size() + 3, static_cast<std::size_t>(made_)) << "the rest is gone";
}

TEST_F(StockTest, TheKindAskedForLeastLatelyGivesWay) {
    open({.each = 1, .kinds = 2, .idle_ms = 60'000});
    for (const char* kind : {"a", "b"})
        stock_->restock(kind);
    ASSERT_TRUE(waitFor([&] { return made_ == 2; }));
    const int b = takeSoon("b");
    stock_->restock("b");
    stock_->restock("c");
    const int c = takeSoon("c");
    EXPECT_NE(b, c);
    EXPECT_FALSE(stock_->take("a"));
    EXPECT_TRUE(waitFor([&] { return discarded().contains(1); }));
}

TEST_F(StockTest, WhatIsSpoiltOrIdleIsThrownAway) {
    open({.each = 2, .kinds = 2, .idle_ms = 60'000});
    stock_->restock("a");
    ASSERT_TRUE(waitFor([&] { return made_ == 2; }));
    spoilt_ = 1;
    EXPECT_EQ(takeSoon("a"), 2);
    EXPECT_EQ(discarded(), std::set<int>{1});
    stock_->restock("a");
    spoilt_ = 3;
    ASSERT_TRUE(waitFor([&] {
        stock_->expire();
        return discarded().contains(3);
    }));
    EXPECT_EQ(takeSoon("a"), 4);

    open({.each = 1, .kinds = 2, .idle_ms = 0});
    stock_->restock("a");
    ASSERT_TRUE(waitFor([&] { return made_ == 5; }));
    ASSERT_TRUE(waitFor([&] {
        stock_->expire();
        return discarded().contains(5);
    }));
    EXPECT_FALSE(stock_->take("a"));
}

TEST_F(StockTest, ClearedItGoesOn) {
    open({.each = 3, .kinds = 2, .idle_ms = 60'000});
    stock_->restock("a");
    stock_->clear();
    EXPECT_FALSE(stock_->take("a"));
    EXPECT_EQ(discarded().size(), static_cast<std::size_t>(made_));
    stock_->restock("a");
    takeSoon("a");
}

TEST_F(StockTest, NoneMadeWithoutASizeAndAFailureIsTriedAgainWhenAsked) {
    open({.each = 0, .kinds = 2, .idle_ms = 60'000});
    stock_->restock("a");
    stock_->stop();
    EXPECT_EQ(made_, 0);
    open({.each = 1, .kinds = 2, .idle_ms = 60'000});
    stock_->restock("none");
    stock_->restock("a");
    EXPECT_EQ(takeSoon("a"), 1);
    EXPECT_FALSE(stock_->take("none"));
}

}  // namespace
}  // namespace aegis::os
