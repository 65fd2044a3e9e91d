#include <array>

#include "agent/parse_context.h"

namespace aegis::agent {
namespace {

template <class E, std::size_t N>
using Table = std::array<std::pair<std::string_view, E>, N>;

// The first word of a value is the one that is printed.
constexpr Table<ImagePullPolicy, 3> kPolicies{{{"Always", ImagePullPolicy::kAlways},
                                               {"IfNotPresent", ImagePullPolicy::kIfNotPresent},
                                               {"Never", ImagePullPolicy::kNever}}};
constexpr Table<Isolation, 4> kIsolations{{{"inherit", Isolation::kInherit},
                                           {"docker", Isolation::kDocker},
                                           {"process", Isolation::kProcess},
                                           {"firecracker", Isolation::kFirecracker}}};
constexpr Table<Mode, 2> kModes{{{"one-shot", Mode::kOneShot}, {"iterative", Mode::kIterative}}};
constexpr Table<OnUnavailable, 2> kOnUnavailable{
    {{"fail", OnUnavailable::kFail}, {"skip", OnUnavailable::kSkip}}};
constexpr Table<Consensus, 4> kConsensus{{{"mean", Consensus::kMean},
                                          {"min", Consensus::kMin},
                                          {"max", Consensus::kMax},
                                          {"majority", Consensus::kMajority}}};
constexpr Table<NetworkMode, 3> kNetworkModes{
    {{"none", NetworkMode::kNone}, {"allow", NetworkMode::kAllow}, {"deny", NetworkMode::kDeny}}};
constexpr Table<StorageClass, 2> kStorageClasses{
    {{"ephemeral", StorageClass::kEphemeral}, {"persistent", StorageClass::kPersistent}}};
constexpr Table<AccessMode, 4> kAccessModes{{{"read-write", AccessMode::kReadWrite},
                                             {"read-only", AccessMode::kReadOnly},
                                             {"ReadWrite", AccessMode::kReadWrite},
                                             {"ReadOnly", AccessMode::kReadOnly}}};
constexpr Table<ContextItem::Type, 3> kContextTypes{{{"text", ContextItem::Type::kText},
                                                     {"file", ContextItem::Type::kFile},
                                                     {"url", ContextItem::Type::kUrl}}};

template <class T, class E>
std::string_view wordOf(const T& table, E value) {
    for (const auto& [word, known] : table) {
        if (known == value) return word;
    }
    return "";
}

}  // namespace

namespace detail {
Words<ImagePullPolicy> imagePullPolicies() { return kPolicies; }
Words<Isolation> isolations() { return kIsolations; }
Words<Mode> modes() { return kModes; }
Words<OnUnavailable> onUnavailables() { return kOnUnavailable; }
Words<Consensus> consensuses() { return kConsensus; }
Words<NetworkMode> networkModes() { return kNetworkModes; }
Words<StorageClass> storageClasses() { return kStorageClasses; }
Words<AccessMode> accessModes() { return kAccessModes; }
Words<ContextItem::Type> contextTypes() { return kContextTypes; }
}  // namespace detail

std::string_view name(ImagePullPolicy value) { return wordOf(kPolicies, value); }
std::string_view name(Isolation value) { return wordOf(kIsolations, value); }
std::string_view name(Mode value) { return wordOf(kModes, value); }
std::string_view name(OnUnavailable value) { return wordOf(kOnUnavailable, value); }
std::string_view name(Consensus value) { return wordOf(kConsensus, value); }
std::string_view name(NetworkMode value) { return wordOf(kNetworkModes, value); }
std::string_view name(StorageClass value) { return wordOf(kStorageClasses, value); }
std::string_view name(AccessMode value) { return wordOf(kAccessModes, value); }
std::string_view name(ContextItem::Type value) { return wordOf(kContextTypes, value); }

std::optional<Isolation> isolationFromName(std::string_view text) {
    for (const auto& [word, value] : kIsolations) {
        if (word == text) return value;
    }
    return std::nullopt;
}

std::string_view typeName(const Validator& validator) {
    constexpr std::string_view kTypes[] = {"exit_code", "json_schema", "regex",
                                           "command",   "semantic",    "multi_judge"};
    return kTypes[validator.check.index()];
}

}  // namespace aegis::agent
