#pragma once

#include <functional>
#include <memory>

#include "doctor/machine.h"

namespace aegis::doctor {

/// What other rooms know, handed in by the program. Each is bounded by the time it is given.
struct Peers {
    std::function<Result<std::string>(Deadline)> engine;
    std::function<Status(const std::string& reference, Deadline)> image;
    std::function<Result<json::Value>(const std::string& address)> daemon;
};

/// This machine.
std::unique_ptr<Machine> systemMachine(Peers peers);

}  // namespace aegis::doctor
