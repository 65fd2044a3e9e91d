#pragma once

#include "base/result.h"
#include "config/config.h"

/// What an ordinary user's daemon needs for embedded sandboxes: ids for their users, and a
/// delegated cgroup for their limits.
namespace aegis::program {

/// Whether this process, which is not root, could have them. The error (kUnsupported) names what is
/// missing. Changes nothing.
Status mayHaveSandboxes(const config::Config& config);

/// For a process with one thread: moves it to where images may be unpacked with the owners that
/// they state, a user namespace of its own. Nothing for root, and where it is already.
Status takeImageIds();

/// Both, for the daemon.
Status prepareForSandboxes(const config::Config& config);

}  // namespace aegis::program
