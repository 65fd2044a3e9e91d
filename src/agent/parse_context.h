#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/manifest.h"
#include "text/yaml_reader.h"

/// What the files of the manifest's grammar share. Internal to this room.
namespace aegis::agent::detail {

using yaml::Node;
using yaml::Problems;
using yaml::Reader;

template <class E>
using Words = std::span<const std::pair<std::string_view, E>>;

inline constexpr yaml::DurationRange kUpToADay{1, 86'400'000, "more than 0 and at most 24h"};

/// One document being read.
struct Context {
    Problems& problems;
    /// Null for a stored manifest: it was checked when it was deployed, only its grammar counts.
    const NodeFacts* facts = nullptr;
    /// The whole file; lets a template's error point into a block scalar.
    std::string_view text;

    bool checks() const { return facts != nullptr; }
    /// An error unless the node has `capability`.
    void demand(std::string_view capability, const std::string& path, const Node& at,
                std::string_view what);
};

void readRuntime(const Node* node, const Node* older_image, RuntimeSpec& out, Context& context);
void readTask(const Node& node, TaskSpec& out, Context& context);
/// A JSON Schema, compiled to see that it can be.
void readSchema(const Node& node, const std::string& path, std::optional<json::Value>& out,
                Context& context);
/// The older places of two fields, directly under `spec`.
struct OlderExecution {
    const Node* max_iterations = nullptr;
    const Node* validation = nullptr;
};
void readExecution(const Node* node, const OlderExecution& older, ExecutionSpec& out,
                   Context& context);
void readValidation(const Node& node, const std::string& path, std::vector<Validator>& out,
                    Context& context);
void readToolValidation(const Node& node, const std::string& path, std::vector<Validator>& out,
                        Context& context);
/// The same for security; `node` may be null.
struct OlderSecurity {
    const Node* network_policy = nullptr;
    const Node* filesystem_policy = nullptr;
    const Node* resources = nullptr;
};
/// `volumes` must have been read; `volumes_ok` says whether without an error.
void readSecurity(const Node* node, const OlderSecurity& older, const std::vector<Volume>& volumes,
                  bool volumes_ok, SecuritySpec& out, Context& context);
void readVolumes(const Node& node, std::vector<Volume>& out, Context& context);
void readTools(const Node& node, std::optional<std::vector<ToolGrant>>& out, Context& context);
void readEnv(const Node& node, const std::string& path, StringMap& out, Context& context);
void readContext(const Node& node, std::vector<ContextItem>& out, Context& context);
void readSchedule(const Node& node, std::optional<Schedule>& out, Context& context);
void readAdvanced(const Node& node, Advanced& out, Context& context);
/// A whole document.
Manifest readManifest(const Node& root, Context& context);

/// JSON in the form it has after being written and read again: doubles that are whole are integers.
json::Value canonical(json::Value value);

/// An absolute path without "//", "/." and a trailing slash; nullopt if it is relative, has a "..",
/// a control character, or is longer than the kernel takes.
std::optional<std::string> normalisePath(std::string_view path);
/// Reads such a path, or reports it.
bool readPath(Reader& reader, std::string_view key, std::string& out);
/// Whether `path` is `parent` or inside it; both normalised.
bool isWithin(std::string_view path, std::string_view parent);

/// Why `rule` is no entry of an allowlist, or "".
std::string networkRuleProblem(std::string_view rule);

Words<ImagePullPolicy> imagePullPolicies();
Words<Isolation> isolations();
Words<Mode> modes();
Words<OnUnavailable> onUnavailables();
Words<Consensus> consensuses();
Words<NetworkMode> networkModes();
Words<StorageClass> storageClasses();
Words<AccessMode> accessModes();
Words<ContextItem::Type> contextTypes();

}  // namespace aegis::agent::detail
