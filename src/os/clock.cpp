#include "os/clock.h"

#include <sys/random.h>

#include <cerrno>
#include <ctime>

#include "base/assert.h"

namespace aegis::os {

UtcTime SystemClock::utc() {
    timespec t{};
    ::clock_gettime(CLOCK_REALTIME, &t);
    return {t.tv_sec * 1000 + t.tv_nsec / 1'000'000};
}

BootTime SystemClock::boot() {
    timespec t{};
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    return {t.tv_sec * 1'000'000'000 + t.tv_nsec};
}

void SystemRandom::fill(std::span<std::byte> out) {
    while (!out.empty()) {
        ssize_t n = ::getrandom(out.data(), out.size(), 0);
        if (n < 0 && errno == EINTR) continue;
        AEGIS_ASSERT(n > 0);
        out = out.subspan(static_cast<std::size_t>(n));
    }
}

void pauseMs(std::int64_t ms) {
    if (ms <= 0) return;
    timespec left{ms / 1000, ms % 1000 * 1'000'000};
    while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

Clock& systemClock() {
    static SystemClock clock;
    return clock;
}

Random& systemRandom() {
    static SystemRandom random;
    return random;
}

}  // namespace aegis::os
