#include "runner/guest_call.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "os/clock.h"

namespace aegis::runner {
namespace {

using Kind = GuestMessage::Kind;

GuestMessage message(Kind kind, std::string content) {
    GuestMessage out;
    out.kind = kind;
    out.content = std::move(content);
    return out;
}

Deadline soon() { return Deadline::in(os::systemClock().boot(), 20'000); }

/// A call, and what was delivered by the thread that pushed it.
class GuestCallTest : public testing::Test {
  protected:
    GuestCallTest() {
        call_.deliverBy([this](const GuestMessage& m) {
            if (m.content == "not this") return false;
            delivered_.push_back(m.content);
            return true;
        });
    }
    std::optional<GuestMessage> next() { return call_.next(soon(), os::systemClock()); }
    /// On another thread, once this one waits: until then what is pushed is left for next().
    void pushAll(std::vector<GuestMessage> messages) {
        thread_ = std::thread([this, messages = std::move(messages)] {
            while (!call_.waited())
                std::this_thread::yield();
            for (const auto& m : messages)
                call_.push(m);
        });
    }
    ~GuestCallTest() override {
        if (thread_.joinable()) thread_.join();
    }

    GuestCall call_;
    std::vector<std::string> delivered_;
    std::thread thread_;
};

TEST_F(GuestCallTest, WhatComesWhileNobodyWaitsIsForNext) {
    call_.push(message(Kind::kDelta, "a"));
    call_.push(message(Kind::kFinal, "b"));
    EXPECT_EQ(next()->content, "a");
    EXPECT_EQ(next()->content, "b");
    EXPECT_FALSE(next());
    EXPECT_TRUE(delivered_.empty());
}

TEST_F(GuestCallTest, WhatComesMeanwhileIsDeliveredAtOnceAndTheEndIsToldToWhoWaits) {
    pushAll({message(Kind::kDelta, "a"), message(Kind::kDelta, "b"), message(Kind::kFinal, "c"),
             message(Kind::kDelta, "late")});
    EXPECT_FALSE(next());
    EXPECT_FALSE(call_.open());
    thread_.join();
    EXPECT_EQ(delivered_, (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(GuestCallTest, WhatCannotBeDeliveredAndAllBehindItIsForNext) {
    pushAll({message(Kind::kDelta, "a"), message(Kind::kDelta, "not this")});
    EXPECT_EQ(next()->content, "not this");
    thread_.join();
    call_.push(message(Kind::kFinal, "c"));
    EXPECT_EQ(next()->content, "c");
    EXPECT_EQ(delivered_, (std::vector<std::string>{"a"}));
}

TEST_F(GuestCallTest, NothingIsDeliveredToOneWhoHasGone) {
    call_.abandon();
    call_.push(message(Kind::kFinal, "a"));
    EXPECT_FALSE(next());
    EXPECT_TRUE(delivered_.empty());
}

}  // namespace
}  // namespace aegis::runner
