#pragma once

#include <string>

#include "base/result.h"

namespace aegis::sandbox {

/// The filter of sandbox/common/syscalls.h as a BPF program for this machine: sock_filter structs
/// as they lie in memory. Takes some 10 ms: to be made once.
Result<std::string> seccompFilter();

/// The same for a template and its stems, until these install the next as well: besides, what it
/// takes to make a sandbox of oneself. All of it is confined to a user namespace of its own.
Result<std::string> templateFilter();

/// What makes the first out of the second, for a process that is under that: takes away what it has
/// more. The kernel asks every filter of a process and does as the strictest says, so that both
/// together are the first; but this one is short, and each stem's kernel has to compile it.
Result<std::string> stemFilter();

struct SeccompFilters {
    std::string sandbox, of_template, stem;
};
Result<SeccompFilters> seccompFilters();

}  // namespace aegis::sandbox
