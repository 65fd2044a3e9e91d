#include "egress/policy.h"

#include <gtest/gtest.h>

#include "egress/dialer.h"
#include "os/clock.h"
#include "os/socket.h"

namespace aegis::egress {
namespace {

using agent::NetworkMode;

Authority to(std::string_view text) {
    auto parsed = Authority::parse(text, 443);
    EXPECT_TRUE(parsed) << text;
    return parsed ? *parsed : Authority{};
}

bool allows(const Policy& policy, std::string_view text) {
    auto target = to(text);
    return policy.named(target.host, target.port).allowed;
}

Policy allowing(std::vector<std::string> allow, std::vector<std::string> deny = {}) {
    return Policy({NetworkMode::kAllow, std::move(allow), std::move(deny)});
}

TEST(Address, WhatIsNotPublic) {
    for (auto text : {"10.1.2.3",
                      "127.0.0.1",
                      "169.254.169.254",
                      "169.254.1.1",
                      "172.31.0.1",
                      "192.168.1.1",
                      "100.64.0.1",
                      "0.0.0.0",
                      "0.1.2.3",
                      "224.0.0.1",
                      "255.255.255.255",
                      "198.18.0.1",
                      "::",
                      "::1",
                      "fe80::1",
                      "fc00::1",
                      "fd00:ec2::254",
                      "ff02::1",
                      "::ffff:10.0.0.1",
                      "::ffff:127.0.0.1",
                      "::10.0.0.1",
                      "64:ff9b::10.0.0.1",
                      "64:ff9b::169.254.169.254",
                      "64:ff9b:1::1",
                      "2002:7f00:1::",
                      "2002:0a00:1::1",
                      "2001::1",
                      "2001:db8::1",
                      "fec0::1",
                      "4000::1",
                      "::8.8.8.8"}) {
        auto address = IpAddress::parse(text);
        ASSERT_TRUE(address) << text;
        EXPECT_NE(specialUse(*address), "") << text;
    }
    for (auto text : {"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111",
                      "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "169.253.1.1"})
        EXPECT_EQ(specialUse(*IpAddress::parse(text)), "") << text;
    EXPECT_EQ(specialUse(*IpAddress::parse("169.254.169.254")), "metadata");
    EXPECT_EQ(specialUse(*IpAddress::parse("::ffff:169.254.169.254")), "metadata");
}

TEST(Address, PrefixesHoldWhatTheyShould) {
    auto in = [](const char* cidr, const char* address) {
        return Cidr::parse(cidr)->contains(*IpAddress::parse(address));
    };
    EXPECT_TRUE(in("10.0.0.0/8", "10.255.0.1"));
    EXPECT_TRUE(in("10.0.0.0/8", "::ffff:10.0.0.1"));
    EXPECT_FALSE(in("10.0.0.0/8", "11.0.0.1"));
    EXPECT_TRUE(in("172.16.0.0/12", "172.31.255.255"));
    EXPECT_FALSE(in("172.16.0.0/12", "172.32.0.0"));
    EXPECT_TRUE(in("0.0.0.0/0", "8.8.8.8"));
    EXPECT_FALSE(in("0.0.0.0/0", "2606::1"));
    EXPECT_FALSE(in("::/0", "8.8.8.8"));
    EXPECT_TRUE(in("::/0", "2606::1"));
    for (auto text : {"10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "x/8"})
        EXPECT_FALSE(Cidr::parse(text)) << text;
}

TEST(Hosts, SpellingsThatResolversTakeForAddressesAreRefused) {
    for (auto text :
         {"127.1", "0x7f000001", "2130706433", "0177.0.0.1", "a.0x1", "1.2.3.4.5", "[1.2.3.4]", "",
          ".", "a..b", "-a.b", "a b", "a/b", "a@b", "a%00b", "[::1", "::1%eth0", "ex\xc3\xa4mple"})
        EXPECT_FALSE(Host::parse(text)) << text;
    EXPECT_EQ(Host::parse("Api.GitHub.COM.")->text, "api.github.com");
    EXPECT_EQ(Host::parse("[::FFFF:1.2.3.4]")->text, "1.2.3.4");
    for (auto text : {"a", "a:0", "a:65536", "a:+1", "a:1:2", "::1:443", "a:", ":443", "u@a:1"})
        EXPECT_FALSE(Authority::parse(text)) << text;
    EXPECT_EQ(Authority::parse("[::1]:443")->port, 443);
}

TEST(PolicyTest, ModesAndRules) {
    EXPECT_FALSE(allows(Policy(), "a.com:443"));
    auto policy =
        allowing({"api.com", "*.example.com", "only.com:8443", "203.0.113.0/24", "10.0.0.7"},
                 {"bad.example.com"});
    EXPECT_TRUE(allows(policy, "API.com:443"));
    EXPECT_TRUE(allows(policy, "api.com.:80"));
    EXPECT_FALSE(allows(policy, "xapi.com:443"));
    EXPECT_FALSE(allows(policy, "www.api.com:443"));
    EXPECT_TRUE(allows(policy, "a.b.example.com:443"));
    EXPECT_FALSE(allows(policy, "example.com:443"));
    EXPECT_FALSE(allows(policy, "notexample.com:443"));
    EXPECT_FALSE(allows(policy, "bad.example.com:443"));
    EXPECT_TRUE(allows(policy, "only.com:8443"));
    EXPECT_FALSE(allows(policy, "only.com:443"));
    EXPECT_TRUE(allows(policy, "203.0.113.9:1"));
    EXPECT_TRUE(allows(policy, "[::ffff:203.0.113.9]:1"));
    EXPECT_FALSE(allows(policy, "203.0.114.9:1"));
    EXPECT_TRUE(allows(policy, "10.0.0.7:1"));

    Policy deny(
        {NetworkMode::kDeny, {}, {"evil.com", "*.evil.com", "198.51.100.0/24", "x.com:25"}});
    EXPECT_TRUE(allows(deny, "good.com:443"));
    EXPECT_FALSE(allows(deny, "evil.com:443"));
    EXPECT_FALSE(allows(deny, "a.evil.com:443"));
    EXPECT_FALSE(allows(deny, "198.51.100.1:443"));
    EXPECT_FALSE(allows(deny, "x.com:25"));
    EXPECT_TRUE(allows(deny, "x.com:443"));
    EXPECT_FALSE(deny.resolved(*IpAddress::parse("198.51.100.1"), 443).allowed);
    EXPECT_FALSE(deny.resolved(*IpAddress::parse("64:ff9b::198.51.100.1"), 443).allowed);
}

TEST(PolicyTest, TheDenylistAlwaysWins) {
    const std::vector<std::string> rules{"a.com",    "*.a.com",   "b.a.com",
                                         "a.com:80", "9.0.0.0/8", "9.9.9.9"};
    const std::vector<std::string> targets{"a.com:80",    "a.com:443", "b.a.com:80",
                                           "c.b.a.com:1", "9.9.9.9:5", "9.1.1.1:5"};
    for (const auto& deny : rules) {
        auto denies = allowing({deny});
        for (const auto& target : targets) {
            const bool hit = allows(denies, target);
            EXPECT_EQ(allows(allowing(rules, {deny}), target),
                      !hit && allows(allowing(rules), target))
                << deny << " " << target;
            EXPECT_EQ(allows(Policy({NetworkMode::kDeny, {}, {deny}}), target), !hit)
                << deny << " " << target;
        }
    }
}

TEST(PrivateAccessTest, OpensOnlyWhatItNames) {
    auto access = PrivateAccess::parse({"10.1.0.0/16", "*.corp.example", "db.local"});
    ASSERT_TRUE(access);
    auto refusal = [&](std::string_view host, const char* address) {
        return access->refusal(*Host::parse(host), *IpAddress::parse(address));
    };
    EXPECT_EQ(refusal("a.com", "10.1.2.3"), "");
    EXPECT_EQ(refusal("a.com", "64:ff9b::10.1.2.3"), "");
    EXPECT_EQ(refusal("a.com", "10.2.0.1"), "10.2.0.1 is a private address");
    EXPECT_EQ(refusal("x.corp.example", "10.2.0.1"), "");
    EXPECT_EQ(refusal("db.local", "127.0.0.1"), "");
    EXPECT_NE(refusal("a.com", "169.254.169.254"), "");
    EXPECT_EQ(refusal("a.com", "8.8.8.8"), "");
    EXPECT_FALSE(PrivateAccess::parse({"10.0.0.0/99"}));
}

class FakeResolver : public Resolver {
  public:
    Result<std::vector<IpAddress>> resolve(const std::string& name, Deadline, int) override {
        asked.push_back(name);
        if (answers.empty()) return Error(ErrorCode::kUnreachable, "unknown");
        auto now = answers.front();
        if (answers.size() > 1) answers.erase(answers.begin());
        return now;
    }
    std::vector<std::vector<IpAddress>> answers;
    std::vector<std::string> asked;
};

Deadline soon() { return Deadline::in(os::systemClock().boot(), 2000); }

TEST(DialerTest, RefusesANameWithOneForbiddenAddressAndAsksNothingForOthers) {
    FakeResolver resolver;
    Dialer dialer(resolver, {});
    resolver.answers = {{*IpAddress::parse("8.8.8.8"), *IpAddress::parse("127.0.0.1")}};
    auto refused = dialer.dial(allowing({"rebind.com"}), to("rebind.com:80"), soon());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kPermissionDenied);
    EXPECT_EQ(refused.error().message, "127.0.0.1 is a loopback address");
    EXPECT_EQ(resolver.asked.size(), 1U);
    EXPECT_FALSE(dialer.dial(allowing({"9.0.0.0/8"}), to("secret.data.evil.com:80"), soon()));
    EXPECT_EQ(resolver.asked.size(), 1U) << "a refused name must not be resolved";
    EXPECT_FALSE(dialer.dial(allowing({"127.0.0.0/8"}), to("127.0.0.1:80"), soon()));
}

TEST(DialerTest, ConnectsToWhatItChecked) {
    auto listener = os::listenTcp("127.0.0.1", 0);
    ASSERT_TRUE(listener);
    auto port = os::localPort(listener->get());
    FakeResolver resolver;
    // A second question would lead elsewhere: none may be asked.
    resolver.answers = {{*IpAddress::parse("127.0.0.1")}, {*IpAddress::parse("169.254.169.254")}};
    Dialer dialer(resolver, *PrivateAccess::parse({"127.0.0.0/8"}));
    Authority target{*Host::parse("local.test"), *port};
    auto dialed = dialer.dial(allowing({"local.test"}), target, soon());
    ASSERT_TRUE(dialed) << dialed.error().message;
    EXPECT_EQ(dialed->address.str(), "127.0.0.1");
    EXPECT_EQ(resolver.asked.size(), 1U);
    auto again = dialer.dial(allowing({"local.test"}), target, soon());
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().message, "169.254.169.254 is a metadata address");
}

}  // namespace
}  // namespace aegis::egress
