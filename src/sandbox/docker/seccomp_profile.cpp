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

json::Object ruleOnArgument(const ConditionalSyscall& call) {
    const bool masked = call.test == ConditionalSyscall::Test::kMaskedEqual;
    auto result = rule({call.name});
    result["args"] =
        json::Array{json::Object{{"index", call.argument},
                                 {"value", masked ? call.mask : call.value},
                                 {"valueTwo", masked ? call.value : std::uint64_t{0}},
                                 {"op", masked ? "SCMP_CMP_MASKED_EQ" : "SCMP_CMP_EQ"}}};
    return result;
}

std::string makeProfile() {
    json::Array allowed;
    for (const auto name : allowedSyscalls())
        allowed.emplace_back(name);
    json::Array rules{rule(std::move(allowed))};
    for (const auto& call : conditionalSyscalls())
        rules.push_back(ruleOnArgument(call));
    auto absent = rule({kAbsentSyscall}, "SCMP_ACT_ERRNO");
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
