#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace aegis::doctor {

enum class State : std::uint8_t { kOk, kWarn, kFail };
std::string_view name(State state);  ///< "ok", "warn", "fail"

/// What one check found. `hint` says what to do; only what is ok has none.
struct Finding {
    State state = State::kOk;
    std::string check;
    std::string detail;
    std::string hint;
    bool operator==(const Finding&) const = default;
};
using Findings = std::vector<Finding>;

}  // namespace aegis::doctor
