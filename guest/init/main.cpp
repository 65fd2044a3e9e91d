#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "supervisor.h"
#include "sys.h"

namespace {

// Static, not on the stack: some 2 MiB of buffers, of which only what is used becomes memory.
aegis::init::Supervisor g_supervisor;

void say(const char* what, const char* why) {
    char line[200];
    aegis::init::Text(line, sizeof line).add("init: ").add(what).add(why).add("\n");
    (void)!write(2, line, strlen(line));
}

}  // namespace

/// PID 1 of a sandbox: `init [directory of the daemon's sockets [payload's pid]]`. With a pid this
/// process has forked a payload that waits (ctl_wire.h), before it became this program; descriptors
/// 3, 4 and 5 are the socket for its job and the read ends of its stdout and stderr. Exit 2: not
/// PID 1 of a namespace of its own; 1: the kernel refuses what it needs.
int main(int argc, char** argv) {
    // First of all: the payload runs as the same user and must not look into this process.
    prctl(PR_SET_DUMPABLE, 0);
    if (getpid() != 1) {
        say("must be the first process of a sandbox", "");
        return 2;
    }
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd >= 0) close(fd);
    const rlimit no_cores{0, 0};
    setrlimit(RLIMIT_CORE, &no_cores);
    if (!g_supervisor.init(argc > 1 ? argv[1] : "/aegis/run")) {
        say("", strerror(errno));
        return 1;
    }
    if (argc > 2) g_supervisor.adopt(aegis::init::toNumber(argv[2]), 3, 4, 5);
    return g_supervisor.run();
}
