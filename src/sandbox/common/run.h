#pragma once

#include <memory>
#include <optional>

#include "os/fd.h"
#include "ports/sandbox.h"
#include "sandbox/common/run_dir.h"

namespace aegis::sandbox {

/// What a sandbox has on the host: its directory, the sockets in it, and where its output goes.
struct Run {
    std::optional<RunDir> dir;
    os::Fd listener;  ///< ctl.sock's; none once its first process is connected
    std::unique_ptr<ports::GuestListener> guest_listener;
    CaptureFile standard_output, standard_error;
};

/// Makes what is not there yet; without a directory that, and ctl.sock in it, first. Blocks on the
/// file system. What is made is the caller's to remove, if it fails too.
Status makeRun(Run& run, RunDirs& dirs, const ports::GuestListenerFactory& listeners);

}  // namespace aegis::sandbox
