#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "text/json.h"

/// The manifest of an agent, fully resolved: every default is filled in, every unit is in the name.
/// Everything here is pure and may be used on any thread.
namespace aegis::agent {

inline constexpr std::string_view kApiVersion = "100monkeys.ai/v1";
inline constexpr std::size_t kMaxManifestBytes = 1 << 20;
/// The prompt template of a manifest that has none.
inline constexpr std::string_view kDefaultPromptTemplate =
    "{{instruction}}\n\nUser: {{input}}\n{{#if previous_error}}Your previous attempt failed with "
    "the "
    "following error. Fix it:\n{{previous_error}}\n{{/if}}Assistant:";

using StringMap = std::map<std::string, std::string>;

struct Metadata {
    std::string name;
    std::string version;
    std::string description;
    StringMap labels, annotations;
    bool operator==(const Metadata&) const = default;
};

enum class ImagePullPolicy : std::uint8_t { kAlways, kIfNotPresent, kNever };
enum class Isolation : std::uint8_t { kInherit, kDocker, kProcess, kFirecracker };

struct RuntimeSpec {
    std::string language, version;  ///< both, or neither when `image` is set
    std::string image;  ///< a custom image; empty: the base image of language and version
    ImagePullPolicy image_pull_policy = ImagePullPolicy::kIfNotPresent;
    Isolation isolation = Isolation::kInherit;
    std::string model = "default";      ///< an alias
    std::optional<double> temperature;  ///< none: not sent
    std::optional<int> max_tokens;      ///< none: not sent
    bool operator==(const RuntimeSpec&) const = default;
};

struct TaskSpec {
    std::string instruction;
    std::string prompt_template{kDefaultPromptTemplate};
    json::Object input_data;  ///< defaults; empty: none
    bool operator==(const TaskSpec&) const = default;
};

// ---- Validators ----

struct ExitCodeCheck {
    int expected = 0;
    bool allow_stderr = true;  ///< false: anything on stderr fails it
    bool operator==(const ExitCodeCheck&) const = default;
};
struct JsonSchemaCheck {
    std::optional<json::Value> schema;  ///< inline; none: `schema_path`
    std::string schema_path;            ///< absolute, in the sandbox
    std::string target_path;            ///< absolute, in the sandbox; empty: the iteration's output
    bool operator==(const JsonSchemaCheck&) const = default;
};
struct RegexCheck {
    std::string pattern;            ///< RE2 syntax
    std::string target = "output";  ///< "output", "stdout", "stderr" or an absolute path
    bool operator==(const RegexCheck&) const = default;
};
struct CommandCheck {
    std::vector<std::string> command;  ///< never empty
    std::int64_t timeout_ms = 60'000;
    bool operator==(const CommandCheck&) const = default;
};
enum class OnUnavailable : std::uint8_t { kFail, kSkip };
struct SemanticCheck {
    std::string judge_agent;  ///< or `model`; both empty: the agent's own model
    std::string model;
    std::string criteria;
    std::int64_t timeout_ms = 60'000;
    OnUnavailable on_unavailable = OnUnavailable::kFail;
    bool operator==(const SemanticCheck&) const = default;
};
enum class Consensus : std::uint8_t { kMean, kMin, kMax, kMajority };
struct MultiJudgeCheck {
    std::vector<std::string> judges;
    Consensus consensus = Consensus::kMean;
    int min_judges_required = 1;
    SemanticCheck common;  ///< what it shares with `semantic`
    bool operator==(const MultiJudgeCheck&) const = default;
};

struct Validator {
    std::variant<ExitCodeCheck, JsonSchemaCheck, RegexCheck, CommandCheck, SemanticCheck,
                 MultiJudgeCheck>
        check;
    double min_score = 1.0;
    double min_confidence = 0.0;
    bool operator==(const Validator&) const = default;
};
/// "exit_code", "json_schema", "regex", "command", "semantic" or "multi_judge".
std::string_view typeName(const Validator& validator);

struct Budget {
    std::optional<double> usd;
    std::optional<std::int64_t> tokens, llm_calls, tool_calls;
    bool operator==(const Budget&) const = default;
};

enum class Mode : std::uint8_t { kOneShot, kIterative };

struct ExecutionSpec {
    Mode mode = Mode::kIterative;
    int max_iterations = 10;  ///< 1 with kOneShot
    std::int64_t iteration_timeout_ms = 300'000;
    int max_tool_calls = 500;                                       ///< per iteration
    int max_model_calls = 200;                                      ///< per iteration
    std::vector<Validator> validation{Validator{ExitCodeCheck{}}};  ///< in order
    std::vector<Validator> tool_validation;                         ///< `semantic` only
    std::optional<Budget> budget;
    bool operator==(const ExecutionSpec&) const = default;
};

// ---- Security ----

enum class NetworkMode : std::uint8_t { kNone, kAllow, kDeny };

struct NetworkSpec {
    NetworkMode mode = NetworkMode::kNone;
    std::vector<std::string> allowlist, denylist;  ///< host, *.domain, host:port or CIDR
    bool operator==(const NetworkSpec&) const = default;
};
struct FilesystemSpec {
    /// Absolute, without a trailing "/**". None: the key was absent (each volume as its mode says).
    std::optional<std::vector<std::string>> read, write;
    bool read_only = false;
    bool operator==(const FilesystemSpec&) const = default;
};
struct ResourceSpec {
    int cpu_millicores = 1000;
    std::uint64_t memory_bytes = 512ULL << 20;
    std::uint64_t disk_bytes = 256ULL << 20;  ///< size of /tmp, part of memory_bytes
    int pids = 256;
    std::int64_t timeout_ms = 300'000;  ///< of the whole execution
    bool operator==(const ResourceSpec&) const = default;
};
struct SecuritySpec {
    NetworkSpec network;
    FilesystemSpec filesystem;
    ResourceSpec resources;
    bool operator==(const SecuritySpec&) const = default;
};

// ---- Volumes, tools, the rest ----

enum class StorageClass : std::uint8_t { kEphemeral, kPersistent };
enum class AccessMode : std::uint8_t { kReadWrite, kReadOnly };

struct Volume {
    std::string name;
    StorageClass storage_class = StorageClass::kEphemeral;
    std::string mount_point;  ///< absolute, normalised
    AccessMode access_mode = AccessMode::kReadWrite;
    std::uint64_t size_limit_bytes = 1ULL << 30;
    std::optional<std::int64_t> ttl_ms;  ///< always set for kEphemeral; 0: deleted at the end
    std::string source_volume_id;        ///< mount this existing one; empty: make or re-use one
    bool operator==(const Volume&) const = default;
};

/// command -> allowed first arguments; an empty map restricts nothing.
using SubcommandAllowlist = std::map<std::string, std::vector<std::string>>;

struct ToolGrant {
    std::string name;
    SubcommandAllowlist subcommand_allowlist;  ///< of cmd.run
    bool operator==(const ToolGrant&) const = default;
};

struct ContextItem {
    enum class Type : std::uint8_t { kText, kFile, kUrl } type = Type::kText;
    std::string value;  ///< the text, the path or the URL
    std::string description;
    bool operator==(const ContextItem&) const = default;
};
struct Schedule {
    std::string cron;
    std::string timezone = "UTC";
    bool enabled = true;
    bool operator==(const Schedule&) const = default;
};
struct Advanced {
    std::optional<int> warm_pool_size;  ///< none: the node's own; 0: none are kept
    std::string bootstrap_path;  ///< absolute, in the image; empty: the managed one is injected
    std::string startup_script;  ///< for /bin/sh, before the bootstrap; empty: none
    bool operator==(const Advanced&) const = default;
};

struct Manifest {
    Metadata metadata;
    RuntimeSpec runtime;
    TaskSpec task;
    std::optional<json::Value> input_schema;
    ExecutionSpec execution;
    SecuritySpec security;
    std::vector<Volume> volumes;
    std::optional<std::vector<ToolGrant>> tools;  ///< none: all built-in ones
    StringMap env;
    std::vector<ContextItem> context;
    std::optional<Schedule> schedule;
    Advanced advanced;
    bool operator==(const Manifest&) const = default;
};

// ---- What a node offers ----

/// Names for NodeFacts::capabilities. A manifest that asks for one that is missing is refused.
namespace capability {
inline constexpr std::string_view kSemanticValidator = "validator.semantic";
inline constexpr std::string_view kMultiJudgeValidator = "validator.multi_judge";
inline constexpr std::string_view kToolValidation = "tool_validation";
inline constexpr std::string_view kBudget = "budget";
inline constexpr std::string_view kSchedule = "schedule";
inline constexpr std::string_view kContextFile = "context.file";
inline constexpr std::string_view kContextUrl = "context.url";
inline constexpr std::string_view kEnvFromNode = "env.node";
inline constexpr std::string_view kEnvSecret = "env.secret";
inline constexpr std::string_view kPersistentVolume = "volume.persistent";
inline constexpr std::string_view kVolumeSource = "volume.source";
inline constexpr std::string_view kStartupScript = "startup_script";
inline constexpr std::string_view kWarmPool = "warm_pool";
inline constexpr std::string_view kEgress = "egress";  ///< missing: a warning, nothing is reachable
}  // namespace capability

/// What the checks must know of the node.
struct NodeFacts {
    std::set<std::string> aliases;  ///< of models; "default" always counts as known
    std::set<std::string> agents;   ///< deployed ones, for judges
    std::set<Isolation> isolations{Isolation::kDocker};  ///< offered; never kInherit
    Isolation default_isolation = Isolation::kDocker;    ///< what kInherit means
    /// language -> version -> image
    std::map<std::string, std::map<std::string, std::string>> images{
        {"python", {{"3.11", "aegis/python:3.11"}}}};
    std::set<std::string> tools;        ///< built-in ones that this node has
    std::set<std::string> mcp_servers;  ///< names
    int host_millicores = 0;            ///< 0: unknown, nothing is capped
    std::set<std::string, std::less<>> capabilities{std::string(capability::kPersistentVolume)};
};

// ---- Parsing ----

struct ParsedManifest {
    Manifest manifest;
    std::vector<ErrorDetail> warnings;  ///< in the order of their places
    std::string source;                 ///< this document's text, byte for byte
};

/// Reads and checks every document of `text` (YAML 1.2 or JSON, at most kMaxManifestBytes). All
/// problems of all documents are reported at once, as kInvalid (kTooLarge for the size) with one
/// detail each, in the order of their places; `file` is only the name in them. Empty documents are
/// skipped, but there must be one manifest; two of the same name are an error.
Result<std::vector<ParsedManifest>> parseManifests(std::string_view text, std::string_view file,
                                                   const NodeFacts& facts);

/// The resolved manifest in the grammar of the manifest itself: it may be deployed as it is.
json::Object manifestToJson(const Manifest& manifest);

/// The inverse, without loss, for stored revisions: nothing is asked of the node, templates,
/// patterns and schemas are not compiled again. kInvalid if `value` was not made by manifestToJson.
Result<Manifest> manifestFromJson(const json::Value& value);

// ---- What follows from a manifest ----

/// One mount of a volume, or of a directory in it, in the sandbox.
struct MountGrant {
    std::string volume_name;
    std::string sub_path;    ///< relative, in the volume; empty: all of it
    std::string mount_path;  ///< absolute, in the sandbox
    bool writable = false;
    bool operator==(const MountGrant&) const = default;
};

/// The mounts that enforce `security.filesystem`, parents before children. A volume that no listed
/// path reaches is not mounted.
std::vector<MountGrant> mountPlan(const Manifest& manifest);

/// Listed paths inside read-write volumes (absolute, as the sandbox sees them, parents first): what
/// does not exist there is made a directory before iteration 1. Mount points themselves are not
/// among them.
std::vector<std::string> pathsToCreate(const Manifest& manifest);

/// The tools that exist here and can succeed under the manifest, in its order (else in the
/// manual's).
std::vector<std::string> offeredTools(const Manifest& manifest, const NodeFacts& facts);

/// Where relative paths and commands start: the first volume's mount point, else "/tmp".
std::string defaultCwd(const Manifest& manifest);

/// The isolation that will be used: never kInherit.
Isolation resolvedIsolation(const Manifest& manifest, const NodeFacts& facts);

/// The image that will be used; kInvalid if the node has none for the language and version.
Result<std::string> resolvedImage(const Manifest& manifest, const NodeFacts& facts);

/// The manual's built-in tools, in its order.
const std::vector<std::string>& builtinTools();

// ---- Names of values, as manifests spell them ----

std::string_view name(ImagePullPolicy value);
std::string_view name(Isolation value);
std::string_view name(Mode value);
std::string_view name(OnUnavailable value);
std::string_view name(Consensus value);
std::string_view name(NetworkMode value);
std::string_view name(StorageClass value);
std::string_view name(AccessMode value);
std::string_view name(ContextItem::Type value);
/// The inverse for isolations ("inherit" included).
std::optional<Isolation> isolationFromName(std::string_view text);

}  // namespace aegis::agent
