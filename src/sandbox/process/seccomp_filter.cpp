#include "sandbox/process/seccomp_filter.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <vector>

#include "os/files.h"
#include "sandbox/common/syscalls.h"

namespace aegis::sandbox {
namespace {

constexpr std::uint64_t kMaxProgram = 64 << 10;
constexpr std::uint32_t kBinaryTree = 2;

constexpr std::array<std::string_view, 11> kStemSyscalls = {
    "clone3",    "fsconfig",   "fsmount", "fsopen",      "mount_setattr", "move_mount",
    "open_tree", "pivot_root", "umount2", "sethostname", "unshare"};

Status check(int result, std::string_view what) {
    if (result == 0) return {};
    return errnoError(-result, fmt::format("seccomp filter: {}", what));
}

/// Negative: this library does not know the call, or the machine has none; then it stays refused.
int numberOf(std::string_view name) {
    return ::seccomp_syscall_resolve_name(std::string(name).c_str());
}

Status allow(scmp_filter_ctx context, std::span<const std::string_view> names) {
    for (const auto name : names) {
        const int number = numberOf(name);
        if (number < 0) continue;
        AEGIS_CHECK(check(::seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0), name));
    }
    return {};
}

Status addRules(scmp_filter_ctx context) {
    AEGIS_CHECK(allow(context, allowedSyscalls()));
    for (const auto& call : conditionalSyscalls()) {
        const int number = numberOf(call.name);
        if (number < 0) continue;
        std::vector<scmp_arg_cmp> tests;
        for (const auto& test : call.tests)
            tests.push_back({test.argument, SCMP_CMP_MASKED_EQ, test.mask, test.value});
        AEGIS_CHECK(
            check(::seccomp_rule_add_array(context, SCMP_ACT_ALLOW, number,
                                           static_cast<unsigned>(tests.size()), tests.data()),
                  call.name));
    }
    return {};
}

Status refuse(scmp_filter_ctx context, std::string_view name, int error) {
    const int number = numberOf(name);
    if (number < 0) return {};
    return check(
        ::seccomp_rule_add(context, SCMP_ACT_ERRNO(static_cast<unsigned>(error)), number, 0), name);
}

Status refuseAbsent(scmp_filter_ctx context) {
    for (const auto name : absentSyscalls())
        AEGIS_CHECK(refuse(context, name, ENOSYS));
    return {};
}

template <class Rules>
Result<std::string> makeFilter(std::uint32_t otherwise, Rules rules) {
    const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context(::seccomp_init(otherwise),
                                                                   ::seccomp_release);
    if (!context) return {ErrorCode::kInternal, "seccomp filter: cannot be made"};
    // Older libraries only have the long list, which does the same.
    (void)::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, kBinaryTree);
    AEGIS_CHECK(rules(context.get()));
    const os::Fd file(::memfd_create("seccomp", MFD_CLOEXEC));
    if (!file) return errnoError(errno, "memfd_create");
    AEGIS_CHECK(check(::seccomp_export_bpf(context.get(), file.get()), "export"));
    if (::lseek(file.get(), 0, SEEK_SET) != 0) return errnoError(errno, "lseek");
    return os::readAll(file.get(), kMaxProgram, "seccomp filter");
}

}  // namespace

Result<std::string> seccompFilter() {
    return makeFilter(SCMP_ACT_ERRNO(EPERM), [](scmp_filter_ctx context) -> Status {
        AEGIS_CHECK(addRules(context));
        return refuseAbsent(context);
    });
}

Result<std::string> templateFilter() {
    return makeFilter(SCMP_ACT_ERRNO(EPERM), [](scmp_filter_ctx context) -> Status {
        AEGIS_CHECK(addRules(context));
        return allow(context, kStemSyscalls);
    });
}

Result<std::string> stemFilter() {
    const auto allowed = allowedSyscalls();
    const auto absent = absentSyscalls();
    return makeFilter(SCMP_ACT_ALLOW, [&](scmp_filter_ctx context) -> Status {
        for (const auto name : kStemSyscalls)
            if (std::ranges::find(allowed, name) == allowed.end() &&
                std::ranges::find(absent, name) == absent.end())
                AEGIS_CHECK(refuse(context, name, EPERM));
        return refuseAbsent(context);
    });
}

Result<SeccompFilters> seccompFilters() {
    SeccompFilters out;
    AEGIS_TRY(out.sandbox, seccompFilter());
    AEGIS_TRY(out.of_template, templateFilter());
    AEGIS_TRY(out.stem, stemFilter());
    return out;
}

}  // namespace aegis::sandbox
