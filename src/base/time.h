#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aegis {

/// Milliseconds since the Unix epoch, UTC. What events and records store.
struct UtcTime {
    std::int64_t ms = 0;
    auto operator<=>(const UtcTime&) const = default;

    /// RFC 3339 with milliseconds: "2026-02-23T10:00:01.250Z".
    std::string rfc3339() const;
    /// RFC 3339 to the second, as the watch lines print it: "2026-02-23T10:00:01Z".
    std::string rfc3339Seconds() const;
    static std::optional<UtcTime> parse(std::string_view text);
};

/// A point on the boot clock (CLOCK_BOOTTIME): what processes wait on. Never stored.
struct BootTime {
    std::int64_t ns = 0;
    auto operator<=>(const BootTime&) const = default;
};

/// An absolute time by which something must have happened, passed end to end as a value.
struct Deadline {
    BootTime at{INT64_MAX};
    static Deadline never() { return {}; }
    static Deadline in(BootTime now, std::int64_t ms) { return {{now.ns + ms * 1'000'000}}; }
    bool isNever() const { return at.ns == INT64_MAX; }
    bool passed(BootTime now) const { return now >= at; }
    /// Milliseconds left, rounded up; 0 when passed; INT64_MAX for never.
    std::int64_t leftMs(BootTime now) const;
    Deadline earlier(Deadline other) const { return at < other.at ? *this : other; }
    auto operator<=>(const Deadline&) const = default;
};

/// The two clocks. Safe on any thread. The real one is in os/clock.h.
class Clock {
  public:
    virtual ~Clock() = default;
    virtual UtcTime utc() = 0;
    virtual BootTime boot() = 0;
};

/// "500ms", "30s", "5m", "1h" (also "1.5h", "2d") to milliseconds; nullopt for anything else.
std::optional<std::int64_t> parseDurationMs(std::string_view text);

}  // namespace aegis
