#include "sandbox/process/seccomp_filter.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <set>
#include <vector>

namespace aegis::sandbox {
namespace {

constexpr int kMostCalls = 700;
constexpr std::uint32_t kX32 = 0x40000000;

using Program = std::vector<sock_filter>;

Program programOf(const Result<std::string>& bytes) {
    EXPECT_TRUE(bytes) << bytes.error().message;
    Program out(bytes->size() / sizeof(sock_filter));
    std::memcpy(out.data(), bytes->data(), out.size() * sizeof(sock_filter));
    return out;
}

/// What the kernel's interpreter answers, of what libseccomp writes.
std::uint32_t verdict(const Program& program, const seccomp_data& data) {
    std::uint32_t a = 0;
    std::size_t at = 0;
    const auto jump = [&](const sock_filter& op, bool taken) { at += taken ? op.jt : op.jf; };
    while (at < program.size()) {
        const auto& op = program[at++];
        switch (op.code) {
            case BPF_LD | BPF_W | BPF_ABS:
                std::memcpy(&a, reinterpret_cast<const char*>(&data) + op.k, sizeof a);
                break;
            case BPF_ALU | BPF_AND | BPF_K:
                a &= op.k;
                break;
            case BPF_JMP | BPF_JA:
                at += op.k;
                break;
            case BPF_JMP | BPF_JEQ | BPF_K:
                jump(op, a == op.k);
                break;
            case BPF_JMP | BPF_JGT | BPF_K:
                jump(op, a > op.k);
                break;
            case BPF_JMP | BPF_JGE | BPF_K:
                jump(op, a >= op.k);
                break;
            case BPF_JMP | BPF_JSET | BPF_K:
                jump(op, (a & op.k) != 0);
                break;
            case BPF_RET | BPF_K:
                return op.k;
            default:
                ADD_FAILURE() << "an instruction this test does not know: " << op.code;
                return 0;
        }
    }
    ADD_FAILURE() << "a program without an end";
    return 0;
}

/// seccomp(2): the strictest action is done, of equals what was installed last says the rest.
std::uint32_t both(const Program& first, const Program& last, const seccomp_data& data) {
    const auto rank = [](std::uint32_t answer) {
        return static_cast<std::int32_t>(answer & SECCOMP_RET_ACTION_FULL);
    };
    const auto later = verdict(last, data);
    const auto earlier = verdict(first, data);
    return rank(earlier) < rank(later) ? earlier : later;
}

/// All single values and pairs of those that rules look at, in the arguments that they look at.
std::vector<seccomp_data> callsOf(std::uint32_t architecture) {
    constexpr std::uint64_t kValues[] = {0,
                                         1,
                                         2,
                                         3,
                                         6,
                                         10,
                                         16,
                                         17,
                                         58,
                                         0x10000,
                                         0x20000,
                                         0x02000000,
                                         0x10000000,
                                         0x40000000,
                                         0x7E020000,
                                         0xFFFFFFFF,
                                         0x1'00000001,
                                         ~std::uint64_t{0}};
    std::vector<seccomp_data> out;
    for (int number = -1; number < kMostCalls; ++number)
        for (const auto x32 : {0U, kX32})
            for (const auto first : kValues)
                for (const auto third : kValues) {
                    seccomp_data data{};
                    data.nr = static_cast<int>(static_cast<std::uint32_t>(number) | x32);
                    data.arch = architecture;
                    data.args[0] = first;
                    data.args[2] = third;
                    out.push_back(data);
                }
    return out;
}

// A stem has its template's filter already; with the short one it is where a sandbox is.
TEST(SeccompFilter, TheShortOneMakesTheSandboxesOutOfTheTemplates) {
    const auto sandbox = programOf(seccompFilter());
    const auto of_template = programOf(templateFilter());
    const auto stem = programOf(stemFilter());
    EXPECT_LT(stem.size(), sandbox.size() / 4);
    std::set<std::uint32_t> answers;
    int differ = 0;
    const auto native = ::seccomp_arch_native();
    for (const auto architecture : {native, native ^ 1U}) {
        for (const auto& data : callsOf(architecture)) {
            const auto wanted = verdict(sandbox, data);
            answers.insert(wanted);
            if (both(of_template, stem, data) != wanted && ++differ < 10)
                ADD_FAILURE() << "call " << data.nr << " with " << data.args[0] << ", "
                              << data.args[2];
        }
    }
    EXPECT_EQ(differ, 0);
    // That there was something to differ in.
    for (const std::uint32_t answer :
         {SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ERRNO | ENOSYS})
        EXPECT_TRUE(answers.contains(answer)) << answer;
}

TEST(SeccompFilter, ATemplateHasWhatASandboxHasNot) {
    const auto sandbox = programOf(seccompFilter());
    const auto of_template = programOf(templateFilter());
    const auto stem = programOf(stemFilter());
    for (const char* name : {"pivot_root", "move_mount", "unshare", "clone3"}) {
        seccomp_data data{};
        data.nr = ::seccomp_syscall_resolve_name(name);
        data.arch = ::seccomp_arch_native();
        EXPECT_EQ(verdict(of_template, data), SECCOMP_RET_ALLOW) << name;
        EXPECT_EQ(verdict(stem, data) & SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ERRNO) << name;
        EXPECT_EQ(verdict(sandbox, data) & SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ERRNO) << name;
    }
}

}  // namespace
}  // namespace aegis::sandbox
