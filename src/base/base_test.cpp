#include <gtest/gtest.h>

#include "base/ids.h"
#include "base/result.h"
#include "base/secret.h"
#include "base/time.h"

namespace aegis {
namespace {

class CountingRandom : public Random {
  public:
    void fill(std::span<std::byte> out) override {
        for (auto& b : out) b = std::byte{next_++};
    }

  private:
    unsigned char next_ = 0;
};

TEST(Ids, AreVersion4AndRoundTrip) {
    CountingRandom random;
    auto id = AgentId::generate(random);
    EXPECT_EQ(id.str(), "00010203-0405-4607-8809-0a0b0c0d0e0f");
    EXPECT_EQ(AgentId::parse(id.str()), id);
    EXPECT_FALSE(AgentId::parse("00010203-0405-4607-8809-0A0b0c0d0e0f"));
    EXPECT_FALSE(AgentId::parse("00010203-0405-4607-8809-0a0b0c0d0e0"));
    EXPECT_FALSE(AgentId::parse("00010203_0405-4607-8809-0a0b0c0d0e0f"));
    EXPECT_EQ(shortId(id.str()), "00010203-0405-...");
}

TEST(Time, FormatsAndParsesRfc3339) {
    UtcTime t{1771840801250};
    EXPECT_EQ(t.rfc3339(), "2026-02-23T10:00:01.250Z");
    EXPECT_EQ(t.rfc3339Seconds(), "2026-02-23T10:00:01Z");
    EXPECT_EQ(UtcTime::parse(t.rfc3339()), t);
    EXPECT_EQ(UtcTime::parse("2026-02-23T10:00:01Z")->ms, 1771840801000);
    for (auto bad : {"", "2026-02-30T10:00:01Z", "2026-02-23T10:00:01", "2026-02-23T24:00:01Z",
                     "2026-02-23T10:00:01.Z", "-026-02-23T10:00:01Z"})
        EXPECT_FALSE(UtcTime::parse(bad)) << bad;
}

TEST(Time, Durations) {
    EXPECT_EQ(parseDurationMs("500ms"), 500);
    EXPECT_EQ(parseDurationMs("30s"), 30'000);
    EXPECT_EQ(parseDurationMs("5m"), 300'000);
    EXPECT_EQ(parseDurationMs("1h"), 3'600'000);
    EXPECT_EQ(parseDurationMs("1.5s"), 1500);
    for (auto bad : {"", "5", "s", "-5s", "1e3s", "5 s", "nans", "infs", "99999999999999999h"})
        EXPECT_FALSE(parseDurationMs(bad)) << bad;
}

TEST(Time, DeadlineLeftRoundsUp) {
    auto d = Deadline::in(BootTime{0}, 5);
    EXPECT_EQ(d.leftMs(BootTime{4'999'999}), 1);
    EXPECT_EQ(d.leftMs(BootTime{5'000'000}), 0);
    EXPECT_EQ(Deadline::never().leftMs(BootTime{5}), INT64_MAX);
}

TEST(Secret, ComparesWhole) {
    Secret s("token");
    EXPECT_TRUE(s.equals("token"));
    EXPECT_FALSE(s.equals("toke"));
    EXPECT_FALSE(s.equals("tokentoken"));
    EXPECT_FALSE(s.equals(""));
    EXPECT_TRUE(Secret().equals(""));
    EXPECT_FALSE(Secret().equals("x"));
}

TEST(Errors, TableAndText) {
    EXPECT_EQ(errorTraits(ErrorCode::kNotFound).http_status, 404);
    EXPECT_EQ(errorTraits(ErrorCode::kInternal).name, "internal");
    EXPECT_EQ(errorCodeFromName("conflict"), ErrorCode::kConflict);
    ErrorDetail d{"spec.x", "a.yaml", 3, 7, "is wrong"};
    EXPECT_EQ(d.str(), "a.yaml:3:7: spec.x: is wrong");
}

Result<int> half(int n) {
    if (n % 2 != 0) return Error(ErrorCode::kInvalid, "odd");
    return n / 2;
}
Result<int> quarter(int n) {
    AEGIS_TRY(int h, half(n));
    return half(h);
}

TEST(Result, TryPropagates) {
    EXPECT_EQ(*quarter(8), 2);
    EXPECT_EQ(quarter(6).error().message, "odd");
}

}  // namespace
}  // namespace aegis
