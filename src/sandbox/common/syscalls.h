#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

/// The seccomp filter of a sandbox, in both isolations: an allow-list for the machine's own
/// architecture; everything else fails with EPERM. What it leaves out on purpose: sockets other
/// than UNIX, INET and INET6 (a fresh network namespace still reaches the host over AF_VSOCK), new
/// namespaces, clone3 (ENOSYS, so that libraries fall back to clone, whose flags a filter can see),
/// io_uring, bpf, userfaultfd, keyrings, mounts, ptrace. Pure.
namespace aegis::sandbox {

/// Allowed whatever their arguments. A kernel or library that does not know one may leave it out.
std::vector<std::string_view> allowedSyscalls();

/// Allowed if one argument equals `value`, or does so after it was masked.
struct ConditionalSyscall {
    enum class Test : std::uint8_t { kEqual, kMaskedEqual };
    std::string_view name;
    unsigned argument = 0;
    Test test = Test::kEqual;
    std::uint64_t value = 0;
    std::uint64_t mask = 0;  ///< of kMaskedEqual
};
/// Several of one name: any of them suffices.
std::span<const ConditionalSyscall> conditionalSyscalls();

/// Fails with ENOSYS, as if the kernel did not have it.
inline constexpr std::string_view kAbsentSyscall = "clone3";

}  // namespace aegis::sandbox
