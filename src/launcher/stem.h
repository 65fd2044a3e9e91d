#pragma once

#include "base/result.h"

/// Sandboxes forked out of a process that has an interpreter up: the template's side of
/// proto/launch.h. Runs inside the template, as a part of the module that its interpreter loads;
/// one thread.
///
/// A template holds nothing of any execution: it only ever hears that one more stem is wanted. What
/// an execution is comes to the stem, on a socket of its own.
namespace aegis::launcher {

/// What the interpreter needs done around a fork.
struct ForkHooks {
    void (*before)();
    void (*after_in_parent)();
    void (*after_in_child)();
    /// Once, in the template, when nobody has wanted a stem for a while: what makes later ones
    /// start faster and the first one wait.
    void (*at_rest)();
};

/// Serves the daemon on `socket`. In the template it never returns, but for an error before it
/// could serve; it outlives the daemon, as what came of it would end with it. It returns in a
/// payload: the sandbox stands, PID 1 of it is ours, and its job comes on ctl::kJobFd. True: there
/// is time to prepare for that.
Result<bool> serveTemplate(int socket, const ForkHooks& hooks);

}  // namespace aegis::launcher
