#include "base/time.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cmath>

namespace aegis {
namespace {

using Days = std::chrono::sys_days;

struct Parts {
    std::chrono::year_month_day day;
    std::int64_t in_day_ms;
};

Parts split(std::int64_t ms) {
    constexpr std::int64_t kDayMs = 86'400'000;
    std::int64_t day = ms / kDayMs;
    std::int64_t rest = ms % kDayMs;
    if (rest < 0) {
        rest += kDayMs;
        --day;
    }
    return {Days{std::chrono::days{day}}, rest};
}

std::string formatUtc(std::int64_t ms, bool with_ms) {
    auto [day, rest] = split(ms);
    auto seconds = rest / 1000;
    auto text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(day.year()),
                            static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()),
                            seconds / 3600, seconds / 60 % 60, seconds % 60);
    return with_ms ? text + fmt::format(".{:03}Z", rest % 1000) : text + "Z";
}

// Reads exactly `count` digits at `at`; advances.
bool digits(std::string_view text, std::size_t& at, std::size_t count, int& out) {
    if (at + count > text.size()) return false;
    auto [end, ec] = std::from_chars(text.data() + at, text.data() + at + count, out);
    if (ec != std::errc{} || end != text.data() + at + count || text[at] == '-') return false;
    at += count;
    return true;
}

bool literal(std::string_view text, std::size_t& at, char c) {
    if (at >= text.size() || text[at] != c) return false;
    ++at;
    return true;
}

}  // namespace

std::string UtcTime::rfc3339() const { return formatUtc(ms, true); }
std::string UtcTime::rfc3339Seconds() const { return formatUtc(ms, false); }

std::optional<UtcTime> UtcTime::parse(std::string_view text) {
    std::size_t at = 0;
    int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
    bool ok = digits(text, at, 4, y) && literal(text, at, '-') && digits(text, at, 2, mo) &&
              literal(text, at, '-') && digits(text, at, 2, d) && literal(text, at, 'T') &&
              digits(text, at, 2, h) && literal(text, at, ':') && digits(text, at, 2, mi) &&
              literal(text, at, ':') && digits(text, at, 2, s);
    if (!ok || h > 23 || mi > 59 || s > 60) return std::nullopt;
    std::int64_t fraction_ms = 0;
    if (at < text.size() && text[at] == '.') {
        std::int64_t scale = 100;
        std::size_t start = ++at;
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10)
            fraction_ms += (text[at] - '0') * scale;
        if (at == start) return std::nullopt;
    }
    if (!literal(text, at, 'Z') || at != text.size()) return std::nullopt;
    std::chrono::year_month_day day{std::chrono::year{y}, std::chrono::month(unsigned(mo)),
                                    std::chrono::day(unsigned(d))};
    if (!day.ok()) return std::nullopt;
    std::int64_t days = Days{day}.time_since_epoch().count();
    return UtcTime{((days * 24 + h) * 60 + mi) * 60'000 + s * 1000 + fraction_ms};
}

std::int64_t Deadline::leftMs(BootTime now) const {
    if (isNever()) return INT64_MAX;
    return at <= now ? 0 : (at.ns - now.ns + 999'999) / 1'000'000;
}

std::optional<std::int64_t> parseDurationMs(std::string_view text) {
    double value = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value,
                                     std::chars_format::fixed);
    if (ec != std::errc{} || !(value >= 0) || text.front() == '-') return std::nullopt;
    std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
    double scale = unit == "ms" ? 1 : unit == "s" ? 1e3 : unit == "m" ? 6e4 : unit == "h" ? 3.6e6
                 : unit == "d"  ? 8.64e7
                                : 0;
    double ms = std::round(value * scale);
    if (scale == 0 || ms > 3.2e14) return std::nullopt;
    return static_cast<std::int64_t>(ms);
}

}  // namespace aegis
