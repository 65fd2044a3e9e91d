#include "proto/ctl.h"

#include <gtest/gtest.h>

#include <random>

namespace aegis::proto::ctl {
namespace {

const std::vector<HostMessage>& hostMessages() {
    static const std::vector<HostMessage> messages = {
        Start{{{"python3", "-c", "print('\xc3\xa9')"}, {"A=1", "B="}, "/workspace"},
              true,
              true,
              10,
              20},
        Prepare{{{"python3", "-c", "wait"}, {"A=1"}, "/"}},
        Start{{{"x"}, {}, ""}, false, false, ~0ULL, 0},
        Exec{7, {{"sh", "-c", ""}, {"PATH=/bin"}, "/"}, 1000, kMaxExecOutputBytes},
        KillAll{},
        Shutdown{},
    };
    return messages;
}

const std::vector<GuestMessage>& guestMessages() {
    static const std::vector<GuestMessage> messages = {
        Hello{State::kEnded, 1, 7411, 0},
        Started{12},
        StartFailed{2, "python3: not found in the image"},
        Exited{-1, 9, 1ULL << 40, 3, true},
        ExecDone{7, 1, 0, true, 0, "", 5, 6, std::string(kMaxExecOutputBytes, 'o'), "err"},
        Killed{},
    };
    return messages;
}

TEST(Ctl, EveryMessageSurvivesTheWay) {
    for (const HostMessage& message : hostMessages()) {
        const auto bytes = encode(message);
        ASSERT_TRUE(bytes) << bytes.error().message;
        const auto parsed = parseHostMessage(*bytes);
        ASSERT_TRUE(parsed) << parsed.error().message;
        EXPECT_EQ(*parsed, message);
        EXPECT_FALSE(parseGuestMessage(*bytes));
    }
    for (const GuestMessage& message : guestMessages()) {
        const auto bytes = encode(message);
        ASSERT_TRUE(bytes);
        const auto parsed = parseGuestMessage(*bytes);
        ASSERT_TRUE(parsed) << parsed.error().message;
        EXPECT_EQ(*parsed, message);
        EXPECT_FALSE(parseHostMessage(*bytes));
    }
}

TEST(Ctl, EveryCutAndEveryTrailingByteIsRefused) {
    for (const GuestMessage& message : guestMessages()) {
        const std::string bytes = *encode(message);
        for (std::size_t length = 0; length < bytes.size(); length += length < 64 ? 1 : 509)
            EXPECT_FALSE(parseGuestMessage(bytes.substr(0, length))) << length;
        EXPECT_FALSE(parseGuestMessage(bytes + '\0'));
    }
}

TEST(Ctl, RefusesOtherVersionsTypesAndValues) {
    std::string hello = *encode(GuestMessage(Hello{}));
    std::string bytes = hello;
    bytes[0] = 2;
    EXPECT_FALSE(parseGuestMessage(bytes));
    bytes = hello;
    bytes[1] = 99;
    EXPECT_FALSE(parseGuestMessage(bytes));
    bytes = hello;
    bytes[2] = 3;  // no such state
    EXPECT_FALSE(parseGuestMessage(bytes));
    std::string exited = *encode(GuestMessage(Exited{}));
    exited.back() = 2;  // no bool
    EXPECT_FALSE(parseGuestMessage(exited));
    EXPECT_FALSE(parseGuestMessage(std::string(kMaxMessageBytes + 1, '\x01')));
}

TEST(Ctl, CountsThatLieAllocateNothing) {
    // A list that says it has four thousand million entries.
    const std::string bytes("\x01\x02\0\0\0\0\xff\xff\xff\xff", 10);
    EXPECT_FALSE(parseHostMessage(bytes));
}

TEST(Ctl, LimitsHoldWhenEncoding) {
    Start start{{{"x"}, {}, "/"}, false, false, 1, 1};
    start.command.argv = {std::string(kMaxArgvBytes, 'a')};
    const auto too_long = encode(HostMessage(start));
    ASSERT_FALSE(too_long);
    EXPECT_EQ(too_long.error().code, ErrorCode::kTooLarge);
    start.command.argv = {std::string(kMaxArgvBytes - 1, 'a')};
    EXPECT_TRUE(encode(HostMessage(start)));
    start.command.env = {std::string(kMaxMessageBytes, 'e')};
    EXPECT_FALSE(encode(HostMessage(start)));
    start.command.env.assign(kMaxEnv + 1, "A=1");
    EXPECT_FALSE(encode(HostMessage(start)));
    start.command = {{std::string("a\0b", 3)}, {}, "/"};
    const auto nul = encode(HostMessage(start));
    ASSERT_FALSE(nul);
    EXPECT_EQ(nul.error().code, ErrorCode::kInvalid);
    start.command.argv.clear();
    EXPECT_FALSE(encode(HostMessage(start)));
    EXPECT_FALSE(encode(HostMessage(Exec{1, {{"x"}, {}, "/"}, 1, kMaxExecOutputBytes + 1})));
}

TEST(Ctl, DescriptorsPerMessage) {
    Start start{{{"x"}, {}, "/"}, false, false, 1, 1};
    EXPECT_EQ(fdCount(start), 2u);
    start.has_stdin = true;
    EXPECT_EQ(fdCount(start), kMaxFds);
    EXPECT_EQ(fdCount(KillAll{}), 0u);
}

TEST(Ctl, RandomDamageNeverParsesIntoSomethingElse) {
    std::mt19937 random(20260222);
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes = *encode(guestMessages()[random() % guestMessages().size()]);
        bytes.resize(std::min<std::size_t>(bytes.size(), 200));
        for (int flips = 0; flips < 3; ++flips)
            bytes[random() % bytes.size()] = static_cast<char>(random());
        if (const auto parsed = parseGuestMessage(bytes)) {
            const auto again = encode(*parsed);
            ASSERT_TRUE(again);
            EXPECT_EQ(*again, bytes);
        }
    }
}

}  // namespace
}  // namespace aegis::proto::ctl
