#pragma once

#include <string>

namespace aegis::sandbox {

/// The seccomp profile of a sandbox, as the JSON that Docker's `seccomp=` security option takes: an
/// allow-list for the machine's own architecture; everything else fails with EPERM. What it leaves
/// out on purpose: sockets other than UNIX, INET and INET6 (a fresh network namespace still reaches
/// the host over AF_VSOCK), new namespaces, clone3 (ENOSYS, so that libraries fall back to clone,
/// whose flags a filter can see), io_uring, bpf, userfaultfd, keyrings, mounts, ptrace. Pure; made
/// once.
const std::string& seccompProfile();

}  // namespace aegis::sandbox
