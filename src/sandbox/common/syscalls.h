#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

/// The seccomp filter of a sandbox, in both isolations: an allow-list for the machine's own
/// architecture; everything else fails with EPERM. What it leaves out on purpose: sockets other
/// than UNIX, INET and INET6 (a fresh network namespace still reaches the host over AF_VSOCK), and
/// of INET those of protocols beside TCP, UDP and ICMP (asking for one loads its kernel module);
/// new namespaces, clone3 (ENOSYS, so that libraries fall back to clone, whose flags a filter can
/// see), io_uring, bpf, userfaultfd, keyrings, mounts, ptrace; inotify and the kernel's own
/// asynchronous I/O, of which a host, or one of its users, has a fixed number: a single sandbox
/// could take them all from everybody (ENOSYS, so that programs poll, or do without). Pure.
namespace aegis::sandbox {

/// Allowed whatever their arguments. A kernel or library that does not know one may leave it out.
std::vector<std::string_view> allowedSyscalls();

/// A test of one argument: it equals `value`, after `mask`.
struct ArgumentTest {
    unsigned argument = 0;
    std::uint64_t value = 0;
    std::uint64_t mask = ~std::uint64_t{0};
};

/// Allowed if all of its tests hold.
struct ConditionalSyscall {
    std::string_view name;
    std::vector<ArgumentTest> tests;
};
/// Several of one name: any of them suffices.
std::vector<ConditionalSyscall> conditionalSyscalls();

/// Fail with ENOSYS, as if the kernel did not have them.
std::span<const std::string_view> absentSyscalls();

}  // namespace aegis::sandbox
