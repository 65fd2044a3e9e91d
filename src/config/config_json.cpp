#include <fmt/format.h>

#include "config/config.h"
#include "text/yaml_reader.h"

namespace aegis::config {
namespace {

json::Value hidden(const Secret& secret) { return secret.empty() ? "" : "***"; }

using yaml::durationText;
using yaml::stringArray;

std::string addressText(const Address& address) {
    bool v6 = address.host.find(':') != std::string::npos;
    return v6 ? fmt::format("[{}]:{}", address.host, address.port)
              : fmt::format("{}:{}", address.host, address.port);
}

json::Object toJson(const ProviderConfig& provider) {
    json::Object out;
    out["name"] = provider.name;
    out["type"] = name(provider.type);
    if (provider.type == ProviderType::kScripted) {
        out["script"] = provider.script;
    } else {
        out["api_key"] = hidden(provider.api_key);
        out["model"] = provider.model;
        out["base_url"] = provider.base_url;
        out["api_version"] = provider.api_version;
    }
    if (provider.max_tokens) out["max_tokens"] = *provider.max_tokens;
    if (!provider.max_tokens_field.empty()) out["max_tokens_field"] = provider.max_tokens_field;
    if (provider.context_window) out["context_window"] = *provider.context_window;
    if (provider.temperature) out["temperature"] = *provider.temperature;
    out["timeout"] = durationText(provider.timeout_ms);
    out["max_response_bytes"] = provider.max_response_bytes;
    if (provider.price)
        out["price"] = json::Object{{"input_per_mtok", provider.price->input_per_mtok},
                                    {"output_per_mtok", provider.price->output_per_mtok}};
    return out;
}

json::Object toJson(const LlmConfig& llm) {
    json::Array providers;
    for (const auto& provider : llm.providers)
        providers.push_back(toJson(provider));
    json::Object aliases;
    for (const auto& [alias, targets] : llm.aliases)
        aliases[alias] = stringArray(targets);
    return {{"providers", std::move(providers)}, {"aliases", std::move(aliases)}};
}

json::Object toJson(const ToolsConfig& tools) {
    json::Object allowlist;
    for (const auto& [command, allowed] : tools.subcommand_allowlist)
        allowlist[command] = stringArray(allowed);
    json::Array servers;
    for (const auto& server : tools.mcp_servers) {
        json::Object one{{"name", server.name}};
        if (server.url.empty()) {
            json::Object env;
            for (const auto& [key, value] : server.env)
                env[key] = hidden(value);
            one["command"] = stringArray(server.command);
            one["env"] = std::move(env);
        } else {
            one["url"] = server.url;
        }
        one["idle_timeout"] = durationText(server.idle_timeout_ms);
        servers.push_back(std::move(one));
    }
    json::Object dispatcher{{"enabled", tools.dispatcher_enabled},
                            {"output_limit_bytes", tools.output_limit_bytes},
                            {"timeout_secs", tools.timeout_secs}};
    return {{"builtin_dispatcher", std::move(dispatcher)},
            {"subcommand_allowlist", std::move(allowlist)},
            {"mcp_servers", std::move(servers)}};
}

json::Object toJson(const RuntimeConfig& runtime) {
    json::Object images;
    for (const auto& [language, versions] : runtime.images) {
        json::Object by_version;
        for (const auto& [version, image] : versions)
            by_version[version] = image;
        images[language] = std::move(by_version);
    }
    return {{"isolation", runtime.isolation},
            {"docker_host", runtime.docker_host},
            {"image_pull_policy", runtime.image_pull_policy},
            {"images", std::move(images)},
            {"max_concurrent_executions", runtime.max_concurrent_executions},
            {"warm_pool", json::Object{{"size", runtime.warm_pool_size},
                                       {"max_size", runtime.warm_pool_max_size},
                                       {"max_idle", durationText(runtime.warm_pool_max_idle_ms)}}}};
}

}  // namespace

json::Object configToJson(const Config& config) {
    const ServerConfig& server = config.server;
    const StorageConfig& storage = config.storage;
    json::Object out;
    out["server"] = json::Object{{"addr", addressText(server.addr)},
                                 {"unix_socket", server.unix_socket},
                                 {"token", hidden(server.token)},
                                 {"tls", json::Object{{"cert_file", server.tls_cert_file},
                                                      {"key_file", server.tls_key_file}}}};
    out["storage"] = json::Object{{"data_dir", storage.data_dir},
                                  {"database_url", hidden(storage.database_url)},
                                  {"volume_dir", storage.volume_dir}};
    out["runtime"] = toJson(config.runtime);
    out["llm"] = toJson(config.llm);
    out["tools"] = toJson(config.tools);
    out["egress"] = json::Object{{"allow_private", stringArray(config.egress.allow_private)},
                                 {"max_response_bytes", config.egress.max_response_bytes}};
    json::Value retention = 0;
    if (config.retention_ms > 0) retention = json::Value(durationText(config.retention_ms));
    out["retention"] = json::Object{{"executions", std::move(retention)}};
    out["observability"] = json::Object{{"log_level", config.observability.log_level},
                                        {"log_format", config.observability.log_format},
                                        {"otlp_endpoint", config.observability.otlp_endpoint}};
    return out;
}

}  // namespace aegis::config
