#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "os/fd.h"
#include "ports/tools.h"

namespace aegis::tools {

inline constexpr std::size_t kMaxReadBytes = 256 * 1024;
inline constexpr std::size_t kMaxWriteBytes = 8 * 1024 * 1024;
inline constexpr std::size_t kMaxListEntries = 2000;

/// The tools `fs.*`. Stateless; any thread, run() and readFile() on one with the sandbox user's
/// file identity (os::takeFileIdentity) because they touch the guest's files.
class FsTools {
  public:
    static const std::vector<ports::ToolSpec>& specs();
    static bool has(std::string_view tool);

    /// By the call's text alone. A refusal's reason reads "fs.write /etc/passwd: not allowed by
    /// security.filesystem.write".
    static ports::ToolAdmission admit(const agent::Manifest& manifest, const ports::ToolCall& call);

    /// `root`: an O_PATH descriptor of the sandbox's root directory. Blocks on the disk.
    static ports::ToolOutcome run(const agent::Manifest& manifest, const ports::ToolCall& call,
                                  int root, Deadline deadline);

    /// A regular file of the sandbox, whole, for a validator; kTooLarge beyond `limit`.
    static Result<std::string> readFile(int root, const std::string& path, std::uint64_t limit,
                                        Deadline deadline);
};

}  // namespace aegis::tools
