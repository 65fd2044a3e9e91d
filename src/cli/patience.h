#pragma once

#include <algorithm>

#include "base/result.h"
#include "base/time.h"
#include "os/clock.h"

namespace aegis::cli {

/// How long a command that was already talking to a daemon waits for it to come back.
inline constexpr std::int64_t kPatienceMs = 60'000;

/// Calls again while the daemon cannot be reached: it restarts, perhaps. Gives the last error after
/// kPatienceMs, or when `deadline` has passed.
template <class F>
auto patiently(Clock& clock, Deadline deadline, F&& call) -> decltype(call()) {
    constexpr std::int64_t kPauseMs = 200;
    auto give_up = Deadline::in(clock.boot(), kPatienceMs).earlier(deadline);
    while (true) {
        auto result = call();
        bool away = !result && (result.error().code == ErrorCode::kUnreachable ||
                                result.error().code == ErrorCode::kUnavailable);
        if (!away || give_up.passed(clock.boot())) return result;
        os::pauseMs(std::min(kPauseMs, give_up.leftMs(clock.boot())));
    }
}

}  // namespace aegis::cli
