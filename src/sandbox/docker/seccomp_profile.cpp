#include "sandbox/docker/seccomp_profile.h"

#include <cerrno>

#include "sandbox/common/syscalls.h"
#include "text/json.h"

namespace aegis::sandbox {
namespace {

constexpr std::string_view nativeArchitecture() {
#if defined(__x86_64__)
    return "SCMP_ARCH_X86_64";
#elif defined(__aarch64__)
    return "SCMP_ARCH_AARCH64";
#else
#error "the seccomp profile knows x86-64 and aarch64"
#endif
}

json::Object rule(json::Array names, std::string_view action = "SCMP_ACT_ALLOW") {
    return {{"names", std::move(names)}, {"action", action}};
}

json::Object ruleOnArguments(const ConditionalSyscall& call) {
    json::Array tests;
    for (const auto& test : call.tests)
        tests.push_back(json::Object{{"index", test.argument},
                                     {"value", test.mask},
                                     {"valueTwo", test.value},
                                     {"op", "SCMP_CMP_MASKED_EQ"}});
    auto result = rule({call.name});
    result["args"] = std::move(tests);
    return result;
}

std::string makeProfile() {
    json::Array allowed;
    for (const auto name : allowedSyscalls())
        allowed.emplace_back(name);
    json::Array rules{rule(std::move(allowed))};
    for (const auto& call : conditionalSyscalls())
        rules.push_back(ruleOnArguments(call));
    json::Array names;
    for (const auto name : absentSyscalls())
        names.emplace_back(name);
    auto absent = rule(std::move(names), "SCMP_ACT_ERRNO");
    absent["errnoRet"] = ENOSYS;
    rules.push_back(std::move(absent));
    return json::dump(json::Object{{"defaultAction", "SCMP_ACT_ERRNO"},
                                   {"architectures", json::Array{nativeArchitecture()}},
                                   {"syscalls", std::move(rules)}});
}

}  // namespace

const std::string& seccompProfile() {
    static const std::string profile = makeProfile();
    return profile;
}

}  // namespace aegis::sandbox
