#include "config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "config/config_reading.h"

namespace aegis::config {
namespace detail {
namespace {

constexpr std::string_view kEnvPrefix = "env:";
constexpr yaml::DurationRange kAnyDuration{0, 3'155'760'000'000, "at most a hundred years"};
constexpr std::int64_t kMaxConcurrent = 100'000;
constexpr std::int64_t kMaxWarmPool = 1000;
constexpr yaml::SizeRange kBytes{1, 1ULL << 40, "1 to 1Ti"};

bool isVariableName(std::string_view text) {
    auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
               (c >= '0' && c <= '9');
    };
    return !text.empty() && !(text.front() >= '0' && text.front() <= '9') &&
           std::ranges::all_of(text, allowed);
}

// The NAME of "env:NAME"; nullopt for any other text. A bad NAME is reported.
std::optional<std::string> variableOf(const Node& node, const std::string& path,
                                      yaml::Problems& problems) {
    if (!node.isScalar() || !node.scalar.starts_with(kEnvPrefix)) return std::nullopt;
    std::string name = node.scalar.substr(kEnvPrefix.size());
    if (isVariableName(name)) return name;
    problems.error(
        path, node,
        fmt::format("{} is not a variable's name (expected env:NAME)", yaml::shown(name)));
    return "";
}

void readServer(const Node& node, ServerConfig& out, Context& context) {
    Reader r(node, "server", context.problems, Reader::Unknown::kLenient);
    std::string addr;
    if (r.string("addr", addr) && !addr.empty()) {
        auto parsed = parseAddress(addr);
        if (parsed)
            out.addr = *parsed;
        else
            r.error("addr",
                    fmt::format("{} is not an address (expected host:port)", yaml::shown(addr)));
    }
    readFilePath(r, "unix_socket", out.unix_socket, context);
    readSecret(r, "token", out.token, context);
    if (const Node* tls = r.get("tls")) {
        Reader files(*tls, "server.tls", context.problems, Reader::Unknown::kLenient);
        readFilePath(files, "cert_file", out.tls_cert_file, context);
        readFilePath(files, "key_file", out.tls_key_file, context);
        if (out.tls_cert_file.empty() != out.tls_key_file.empty())
            files.error("needs both or neither (expected cert_file and key_file)");
        files.finish();
    }
    r.finish();
}

void readStorage(const Node& node, StorageConfig& out, Context& context) {
    Reader r(node, "storage", context.problems, Reader::Unknown::kLenient);
    readFilePath(r, "data_dir", out.data_dir, context);
    readSecret(r, "database_url", out.database_url, context);
    readFilePath(r, "volume_dir", out.volume_dir, context);
    r.finish();
}

template <std::size_t N>
void readWord(Reader& r, std::string_view key, std::string& out,
              const std::string_view (&words)[N]) {
    std::vector<std::pair<std::string_view, std::string_view>> table;
    for (auto word : words)
        table.emplace_back(word, word);
    std::string_view chosen;
    if (r.choice(key, chosen,
                 std::span<const std::pair<std::string_view, std::string_view>>(table)))
        out = chosen;
}

void readImages(const Node& node, RuntimeConfig& out, yaml::Problems& problems) {
    if (!node.isMapping()) {
        problems.error("runtime.images", node,
                       fmt::format("is {} (expected a mapping of languages)", describe(node)));
        return;
    }
    for (const auto& entry : node.entries) {
        auto versions = yaml::readStringMap(entry.value,
                                            yaml::childPath("runtime.images", entry.key), problems);
        if (!versions) continue;
        for (auto& [version, image] : *versions)
            out.images[entry.key][version] = image;
    }
}

void readRuntime(const Node& node, RuntimeConfig& out, Context& context) {
    Reader r(node, "runtime", context.problems, Reader::Unknown::kLenient);
    constexpr std::string_view kIsolations[] = {"process", "docker"};
    constexpr std::string_view kPolicies[] = {"Always", "IfNotPresent", "Never"};
    out.isolation_given = r.has("isolation");
    readWord(r, "isolation", out.isolation, kIsolations);
    r.string("docker_host", out.docker_host);
    readWord(r, "image_pull_policy", out.image_pull_policy, kPolicies);
    if (const Node* images = r.get("images")) readImages(*images, out, context.problems);
    r.integer("max_concurrent_executions", out.max_concurrent_executions, 1, kMaxConcurrent);
    if (const Node* pool = r.get("warm_pool")) {
        Reader fields(*pool, "runtime.warm_pool", context.problems, Reader::Unknown::kLenient);
        fields.integer("size", out.warm_pool_size, 0, kMaxWarmPool);
        fields.integer("max_size", out.warm_pool_max_size, 0, kMaxWarmPool);
        fields.duration("max_idle", out.warm_pool_max_idle_ms, kAnyDuration);
        fields.finish();
    }
    r.finish();
}

void readEgress(const Node& node, EgressConfig& out, Context& context) {
    Reader r(node, "egress", context.problems, Reader::Unknown::kLenient);
    r.strings("allow_private", out.allow_private);
    r.size("max_response_bytes", out.max_response_bytes, kBytes);
    r.finish();
}

void readRetention(const Node& node, std::int64_t& out, Context& context) {
    Reader r(node, "retention", context.problems, Reader::Unknown::kLenient);
    const Node* executions = r.get("executions");
    if (executions && executions->scalar != "0") r.duration("executions", out, kAnyDuration);
    r.finish();
}

void readObservability(const Node& node, ObservabilityConfig& out, Context& context) {
    Reader r(node, "observability", context.problems, Reader::Unknown::kLenient);
    constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};
    constexpr std::string_view kFormats[] = {"text", "json"};
    readWord(r, "log_level", out.log_level, kLevels);
    readWord(r, "log_format", out.log_format, kFormats);
    r.string("otlp_endpoint", out.otlp_endpoint);
    r.finish();
}

}  // namespace

void readRoot(const Node& root, Config& out, Context& context) {
    Reader r(root, "", context.problems, Reader::Unknown::kLenient);
    if (const Node* node = r.get("server")) readServer(*node, out.server, context);
    if (const Node* node = r.get("storage")) readStorage(*node, out.storage, context);
    if (const Node* node = r.get("runtime")) readRuntime(*node, out.runtime, context);
    readLlm(r.get("llm"), out.llm, context);
    if (const Node* node = r.get("tools")) readTools(*node, out.tools, context);
    if (const Node* node = r.get("egress")) readEgress(*node, out.egress, context);
    if (const Node* node = r.get("retention")) readRetention(*node, out.retention_ms, context);
    if (const Node* node = r.get("observability"))
        readObservability(*node, out.observability, context);
    r.finish();
}

bool isSecretKey(std::string_view key) {
    return key == "api_key" || key == "token" || key == "database_url" || key == "env";
}

void expand(Node& node, const std::string& path, Context& context) {
    for (std::size_t i = 0; i < node.items.size(); ++i)
        expand(node.items[i], yaml::itemPath(path, i), context);
    for (auto& entry : node.entries) {
        if (!isSecretKey(entry.key)) expand(entry.value, yaml::childPath(path, entry.key), context);
    }
    if (auto variable = variableOf(node, path, context.problems))
        node.scalar = context.env(*variable).value_or("");
}

bool readSecret(Reader& reader, std::string_view key, Secret& out, Context& context,
                std::string* variable) {
    std::string text;
    if (!reader.string(key, text)) return false;
    auto name = variableOf(*reader.get(key), reader.path(key), context.problems);
    if (name && variable) *variable = *name;
    out = Secret(name ? context.env(*name).value_or("") : text);
    return true;
}

bool readFilePath(Reader& reader, std::string_view key, std::string& out, const Context& context) {
    if (!reader.string(key, out)) return false;
    if (!out.empty() && out.front() != '/' && !context.base_dir.empty()) {
        if (out.starts_with("./")) out.erase(0, 2);
        out = fmt::format("{}{}{}", context.base_dir, context.base_dir.ends_with('/') ? "" : "/",
                          out);
    }
    return true;
}

}  // namespace detail

bool Address::isLoopback() const {
    // "127.example.com" is a name that may mean anything.
    bool in_127 =
        host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos;
    return host == "localhost" || host == "::1" || in_127;
}

std::optional<Address> parseAddress(std::string_view text) {
    auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    auto host = text.substr(0, colon);
    auto digits = text.substr(colon + 1);
    Address address;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
    if (digits.empty() || ec != std::errc{} || end != digits.data() + digits.size() ||
        address.port < 0 || address.port > 65535 || digits.front() == '-')
        return std::nullopt;
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    else if (host.find(':') != std::string_view::npos)
        return std::nullopt;
    bool characters = std::ranges::all_of(host, [](unsigned char c) {
        return c > 0x20 && c < 0x7F && c != '/' && c != '[' && c != ']' && c != '@';
    });
    if (!characters) return std::nullopt;
    address.host = host;
    return address;
}

Result<ParsedConfig> parseConfig(std::string_view text, std::string_view file,
                                 std::string_view base_dir, const EnvLookup& env) {
    auto documents = yaml::parse(text, {.max_bytes = kMaxConfigBytes});
    if (!documents) {
        Error error = std::move(documents.error());
        for (ErrorDetail& detail : error.details)
            detail.file = file;
        return std::move(error).within("invalid configuration");
    }
    yaml::Problems problems{std::string(file)};
    detail::Context context{problems, env, base_dir};
    ParsedConfig parsed;
    yaml::Node empty;
    empty.kind = yaml::Node::Kind::kMapping;
    yaml::Node& root = documents->empty() ? empty : documents->front().root;
    if (documents->size() > 1)
        problems.error("", (*documents)[1].root, "a second document (expected one)");
    parsed.config.server.token = Secret(env("AEGIS_TOKEN").value_or(""));
    detail::expand(root, "", context);
    detail::readRoot(root.isNull() ? empty : root, parsed.config, context);
    if (auto host = env("DOCKER_HOST"); host && !host->empty())
        parsed.config.runtime.docker_host = *host;
    parsed.warnings = problems.takeWarnings();
    if (problems.ok()) return parsed;
    Error error(ErrorCode::kInvalid, "invalid configuration");
    error.details = problems.takeErrors();
    if (error.details.size() > 1)
        error.message += fmt::format(": {} problems", error.details.size());
    return error;
}

Status checkServable(const Config& config) {
    if (config.server.addr.isLoopback() || !config.server.token.empty()) return {};
    return Error(ErrorCode::kInvalid,
                 fmt::format("server.addr {}:{} can be reached from other machines, and there is "
                             "no server.token",
                             config.server.addr.host, config.server.addr.port),
                 "set server.token (or AEGIS_TOKEN and token: \"env:AEGIS_TOKEN\"), or listen on "
                 "127.0.0.1");
}

Result<std::string> resolveDataDir(const Config& config, bool is_root, const EnvLookup& env) {
    if (!config.storage.data_dir.empty()) return config.storage.data_dir;
    auto variable = [&](std::string_view name) { return env(name).value_or(""); };
    if (auto dir = variable("AEGIS_DATA_DIR"); !dir.empty()) return dir;
    if (is_root) return std::string("/var/lib/aegis");
    // Relative values are to be ignored: XDG Base Directory Specification 0.8.
    if (auto state = variable("XDG_STATE_HOME"); state.starts_with('/')) return state + "/aegis";
    if (auto home = variable("HOME"); home.starts_with('/')) return home + "/.local/state/aegis";
    return Error(ErrorCode::kInvalid, "no data directory: HOME is not set",
                 "set storage.data_dir or AEGIS_DATA_DIR");
}

}  // namespace aegis::config
