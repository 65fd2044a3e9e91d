#pragma once

#include <memory>

#include "doctor/checks.h"

namespace aegis::doctor {

struct Report {
    Findings findings;
    bool late = false;  ///< a check did not end in time: its thread may still run
    std::string version;

    /// Nothing failed; there may be warnings.
    bool usable() const;
    /// 0 when usable, 2 when the configuration is at fault, else 10.
    int exitCode() const;
    /// {"usable","version","checks":[{"status","check","detail","hint"}]}
    json::Object toJson() const;
    /// "ok    check  detail", a line "hint: …" below what is not ok, and a last line that sums up.
    std::string text(bool color) const;
};

/// Runs all checks at once and waits for them until `within_ms` have passed. Shared: a check that
/// is late keeps what it works with. Blocks.
Report examine(std::shared_ptr<Machine> machine, Subject subject, std::int64_t within_ms);

}  // namespace aegis::doctor
