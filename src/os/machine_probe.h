#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

/// What the kernel and this process's limits offer. Nothing is changed by asking. Any thread.
namespace aegis::os {

/// The ABI version of Landlock, 1 and up. kUnsupported when the kernel has none or it is off.
Result<int> landlockAbi();

/// Whether this process can make a user namespace: a child tries.
Status tryUserNamespace();

/// Whether seccomp filters can be installed that return errno and kill the process.
Status seccompFilters();

/// Whether the kernel's clock is kept by a time service (adjtimex(2)).
bool clockSynchronized();

struct OpenFileLimits {
    std::uint64_t soft = 0;
    std::uint64_t hard = 0;
};
OpenFileLimits openFileLimits();
/// Lifts the soft limit to `wanted`, or to the hard limit if that is less. Children inherit it.
void raiseOpenFiles(std::uint64_t wanted);

struct PathFacts {
    bool exists = false;
    bool directory = false;
    bool writable = false;  ///< by this process
    bool ours = false;      ///< its owner is this process's user
    unsigned mode = 0;      ///< permission bits
};
/// Follows links. Errors only for what cannot be looked at.
Result<PathFacts> pathFacts(const std::string& path);

}  // namespace aegis::os
