#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "text/json.h"

/// aegis-config.yaml with every default filled in. Pure; any thread.
namespace aegis::config {

inline constexpr std::size_t kMaxConfigBytes = 1 << 20;

struct Address {
    std::string host;  ///< without brackets; empty: every interface
    int port = 0;
    /// 127.0.0.0/8, ::1 or localhost.
    bool isLoopback() const;
    bool operator==(const Address&) const = default;
};
/// "host:port", "[v6]:port" or ":port"; nullopt for anything else.
std::optional<Address> parseAddress(std::string_view text);

struct ServerConfig {
    Address addr{"127.0.0.1", 9090};
    std::string unix_socket;                  ///< empty: none
    Secret token;                             ///< by default $AEGIS_TOKEN
    std::string tls_cert_file, tls_key_file;  ///< both or neither
};

struct StorageConfig {
    std::string data_dir;    ///< empty: see resolveDataDir
    Secret database_url;     ///< empty: SQLite in data_dir; may hold a password
    std::string volume_dir;  ///< empty: data_dir/volumes
};

struct RuntimeConfig {
    std::string isolation = "process";  ///< what `inherit` means: "process" or "docker"
    bool isolation_given = false;       ///< the file says so; else it is the default
    std::string docker_host = "unix:///var/run/docker.sock";  ///< $DOCKER_HOST wins
    std::string image_pull_policy = "IfNotPresent";
    /// language -> version -> image; python 3.11 is always there.
    std::map<std::string, std::map<std::string, std::string>> images{
        {"python", {{"3.11", "aegis/python:3.11"}}}};
    int max_concurrent_executions = 64;
    int warm_pool_size = 2;
    int warm_pool_max_size = 8;  ///< the most that a manifest can ask for
    std::int64_t warm_pool_max_idle_ms = 600'000;
};

enum class ProviderType : std::uint8_t { kOpenai, kAnthropic, kOllama, kScripted };
std::string_view name(ProviderType type);

struct Price {
    double input_per_mtok = 0, output_per_mtok = 0;  ///< US dollars per million tokens
};

struct ProviderConfig {
    std::string name;
    ProviderType type = ProviderType::kOpenai;
    Secret api_key;
    std::string api_key_variable;  ///< the NAME of `env:NAME`, for messages; else empty
    std::string model;
    std::string base_url;  ///< empty: the vendor's
    std::string api_version;
    std::optional<int> max_tokens;      ///< none: not sent (kAnthropic always has one)
    std::string max_tokens_field;       ///< empty: chosen by base_url
    std::optional<int> context_window;  ///< in tokens
    std::optional<double> temperature;  ///< none: not sent
    std::int64_t timeout_ms = 120'000;
    std::uint64_t max_response_bytes = 8 << 20;
    std::optional<Price> price;
    std::string script;  ///< of kScripted: the path

    /// The vendor's own service cannot be used without a key.
    bool lacksKey() const;
};

struct LlmConfig {
    std::vector<ProviderConfig> providers;
    /// alias -> provider names, tried in that order. Has "default" unless there is no provider at
    /// all.
    std::map<std::string, std::vector<std::string>> aliases;
    /// No provider is configured: a reachable Ollama is to be appended as "ollama" (and becomes
    /// what "default" means if it is the only one).
    bool probe_ollama = false;
};

struct McpServerConfig {
    std::string name;
    std::vector<std::string> command;  ///< stdio; or `url`
    std::map<std::string, Secret> env;
    std::string url;
    std::int64_t idle_timeout_ms = 300'000;
};

struct ToolsConfig {
    bool dispatcher_enabled = true;  ///< cmd.run
    std::uint64_t output_limit_bytes = 1 << 20;
    int timeout_secs = 60;
    std::map<std::string, std::vector<std::string>>
        subcommand_allowlist;  ///< empty: no restriction
    std::vector<McpServerConfig> mcp_servers;
};

struct EgressConfig {
    std::vector<std::string> allow_private;  ///< CIDRs and hosts
    std::uint64_t max_response_bytes = 104'857'600;
};

struct ObservabilityConfig {
    std::string log_level = "info";   ///< "debug", "info", "warn", "error"
    std::string log_format = "text";  ///< "text", "json"
    std::string otlp_endpoint;
};

struct Config {
    ServerConfig server;
    StorageConfig storage;
    RuntimeConfig runtime;
    LlmConfig llm;
    ToolsConfig tools;
    EgressConfig egress;
    std::int64_t retention_ms = 0;  ///< of ended executions; 0: for ever
    ObservabilityConfig observability;
};

/// A variable of the environment; nullopt if it is not set.
using EnvLookup = std::function<std::optional<std::string>(std::string_view)>;

struct ParsedConfig {
    Config config;
    std::vector<ErrorDetail> warnings;
};

/// Reads the text of a configuration file; an empty one gives the defaults. Every problem is
/// reported at once, as kInvalid with one detail each (kTooLarge for the size). `file` is the name
/// in them; relative paths are taken from `base_dir`, the file's folder.
Result<ParsedConfig> parseConfig(std::string_view text, std::string_view file,
                                 std::string_view base_dir, const EnvLookup& env);

/// kInvalid if a daemon must not start with it: an address beyond loopback without a token.
Status checkServable(const Config& config);

/// The settings that differ and that a running daemon does not take over: "server.addr", ….
std::vector<std::string> needsRestart(const Config& running, const Config& next);

/// storage.data_dir, else $AEGIS_DATA_DIR, else /var/lib/aegis for root, else $XDG_STATE_HOME/aegis
/// (by default ~/.local/state/aegis). kInvalid if none of them can be had.
Result<std::string> resolveDataDir(const Config& config, bool is_root, const EnvLookup& env);

/// The whole configuration in its own grammar; a secret that is set reads "***".
json::Object configToJson(const Config& config);

}  // namespace aegis::config
