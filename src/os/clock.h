#pragma once

#include "base/random.h"
#include "base/time.h"

namespace aegis::os {

/// CLOCK_REALTIME and CLOCK_BOOTTIME.
class SystemClock : public Clock {
  public:
    UtcTime utc() override;
    BootTime boot() override;
};

/// getrandom(2). Aborts if the kernel has none to give, which it never does after boot.
class SystemRandom : public Random {
  public:
    void fill(std::span<std::byte> out) override;
};

/// Sleeps for `ms` milliseconds; at once for 0 and less.
void pauseMs(std::int64_t ms);

/// The process's instances; live for ever.
Clock& systemClock();
Random& systemRandom();

}  // namespace aegis::os
