#include "sandbox/common/run.h"

#include "sandbox/common/ctl_channel.h"

namespace aegis::sandbox {

Status makeRun(Run& run, RunDirs& dirs, const ports::GuestListenerFactory& listeners) {
    if (!run.dir) {
        AEGIS_TRY(run.dir, dirs.create());
        AEGIS_TRY(run.listener, listenCtl(run.dir->ctlSocket()));
    }
    if (!run.guest_listener) {
        AEGIS_TRY(run.guest_listener, listeners(run.dir->apiSocket()));
    }
    if (!run.standard_output.writer) {
        AEGIS_TRY(run.standard_output, makeCapture(*run.dir, "stdout"));
        AEGIS_TRY(run.standard_error, makeCapture(*run.dir, "stderr"));
    }
    return {};
}

}  // namespace aegis::sandbox
