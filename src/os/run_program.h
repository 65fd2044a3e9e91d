#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace aegis::os {

/// The path of an executable `name`, looked for in $PATH and the system's sbin directories.
Result<std::string> findProgram(const std::string& name);

/// Runs a trusted helper program of the host (never anything of a guest's) to its end, with an
/// empty environment but PATH, no input, and its output thrown away but for the last lines of
/// stderr, which end up in the error. Killed at the deadline (kTimeout). argv[0] is an absolute
/// path. Blocks.
Status runProgram(const std::vector<std::string>& argv, Deadline deadline);

/// For a program that a user waits for and sees.
struct RunOptions {
    bool keep_environment = false;  ///< pass this process's environment on (proxies, TMPDIR)
    /// Gets stderr as it comes, in pieces, on the calling thread.
    std::function<void(std::string_view text)> on_error_text;
};
Status runProgram(const std::vector<std::string>& argv, Deadline deadline,
                  const RunOptions& options);

}  // namespace aegis::os
