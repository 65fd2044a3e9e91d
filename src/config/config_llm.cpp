#include <fmt/format.h>

#include <algorithm>

#include "config/config_reading.h"

namespace aegis::config {
namespace detail {
namespace {

constexpr std::pair<std::string_view, ProviderType> kTypes[] = {
    {"openai", ProviderType::kOpenai},
    {"anthropic", ProviderType::kAnthropic},
    {"ollama", ProviderType::kOllama},
    {"scripted", ProviderType::kScripted}};
constexpr std::string_view kMadeOllama = "ollama";
constexpr int kAnthropicMaxTokens = 4096;
constexpr std::int64_t kMaxTokens = 100'000'000;
constexpr yaml::DurationRange kTimeout{1, 86'400'000, "more than 0 and at most 24h"};
constexpr yaml::SizeRange kAnswerBytes{1024, 1ULL << 30, "1Ki to 1Gi"};
constexpr yaml::SizeRange kOutputBytes{1024, 256 << 20, "1Ki to 256Mi"};

bool isName(std::string_view text) {
    return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_';
    });
}

void checkUrl(Reader& r, std::string_view key, const std::string& url) {
    bool scheme = url.starts_with("http://") || url.starts_with("https://");
    bool printable = std::ranges::all_of(url, [](unsigned char c) { return c > 0x20; });
    if (!url.empty() && (!scheme || !printable))
        r.error(key, fmt::format("{} is not a URL (expected http://... or https://...)",
                                 yaml::shown(url)));
}

void readName(Reader& r, std::string& out) {
    constexpr std::string_view kExpected = "letters, digits, dashes and underscores, at most 64";
    if (r.require("name", kExpected) && r.string("name", out) && !isName(out))
        r.error("name", fmt::format("{} is not a name (expected {})", yaml::shown(out), kExpected));
}

void readPrice(Reader& r, ProviderConfig& out, Context& context) {
    const Node* node = r.get("price");
    if (!node) return;
    Reader fields(*node, r.path("price"), context.problems, Reader::Unknown::kLenient);
    Price price;
    fields.number("input_per_mtok", price.input_per_mtok, 0, 1e9);
    fields.number("output_per_mtok", price.output_per_mtok, 0, 1e9);
    fields.finish();
    out.price = price;
}

void checkProvider(Reader& r, const ProviderConfig& provider) {
    if (provider.type == ProviderType::kScripted) {
        r.require("script", "the path of a list of answers");
    } else {
        if (r.has("script")) r.error("script", "only a provider of type scripted has one");
        r.require("model", "the vendor's name of a model");
    }
    if (provider.lacksKey())
        r.warning("api_key", provider.api_key_variable.empty()
                                 ? std::string("there is no key: using this provider will fail")
                                 : fmt::format("{} is not set: using this provider will fail",
                                               provider.api_key_variable));
}

void readProvider(const Node& node, const std::string& path, ProviderConfig& out,
                  Context& context) {
    Reader r(node, path, context.problems, Reader::Unknown::kLenient);
    readName(r, out.name);
    bool typed = r.require("type", "openai, anthropic, ollama or scripted") &&
                 r.choice("type", out.type,
                          std::span<const std::pair<std::string_view, ProviderType>>(kTypes));
    readSecret(r, "api_key", out.api_key, context, &out.api_key_variable);
    r.string("model", out.model);
    if (r.string("base_url", out.base_url)) checkUrl(r, "base_url", out.base_url);
    r.string("api_version", out.api_version);
    if (out.type == ProviderType::kAnthropic) out.max_tokens = kAnthropicMaxTokens;
    if (int tokens = 0; r.integer("max_tokens", tokens, 1, kMaxTokens)) out.max_tokens = tokens;
    if (int tokens = 0; r.integer("context_window", tokens, 1, kMaxTokens))
        out.context_window = tokens;
    if (r.string("max_tokens_field", out.max_tokens_field) &&
        out.max_tokens_field != "max_tokens" && out.max_tokens_field != "max_completion_tokens")
        r.error("max_tokens_field",
                fmt::format("{} is not valid (expected max_tokens or max_completion_tokens)",
                            yaml::shown(out.max_tokens_field)));
    r.number("temperature", out.temperature, 0, 2);
    r.duration("timeout", out.timeout_ms, kTimeout);
    r.size("max_response_bytes", out.max_response_bytes, kAnswerBytes);
    readPrice(r, out, context);
    readFilePath(r, "script", out.script, context);
    if (typed) checkProvider(r, out);
    r.finish();
}

void readProviders(const Node& node, LlmConfig& out, Context& context) {
    if (!node.isSequence()) {
        context.problems.error("llm.providers", node,
                               fmt::format("is {} (expected a list)", describe(node)));
        return;
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        ProviderConfig provider;
        auto path = yaml::itemPath("llm.providers", i);
        readProvider(node.items[i], path, provider, context);
        bool twice = std::ranges::any_of(
            out.providers, [&](const auto& other) { return other.name == provider.name; });
        if (twice && !provider.name.empty())
            context.problems.error(
                yaml::childPath(path, "name"), node.items[i],
                fmt::format("another provider is named {} too", yaml::shown(provider.name)));
        out.providers.push_back(std::move(provider));
    }
}

// The vendors' own variables make providers where the file names none.
void makeProviders(LlmConfig& out, const EnvLookup& env) {
    auto make = [&](ProviderType type, std::string_view variable, std::string model) {
        auto key = env(variable);
        if (!key || key->empty()) return;
        ProviderConfig provider;
        provider.name = name(type);
        provider.type = type;
        provider.api_key = Secret(std::move(*key));
        provider.api_key_variable = variable;
        provider.model = std::move(model);
        if (type == ProviderType::kAnthropic) provider.max_tokens = kAnthropicMaxTokens;
        out.providers.push_back(std::move(provider));
    };
    make(ProviderType::kOpenai, "OPENAI_API_KEY", "gpt-4o");
    make(ProviderType::kAnthropic, "ANTHROPIC_API_KEY", "claude-sonnet-4-5");
    out.probe_ollama = true;
}

void readAlias(const Node& node, const std::string& alias, LlmConfig& out, Context& context) {
    auto path = yaml::childPath("llm.aliases", alias);
    std::vector<std::string> targets;
    if (node.isScalar()) {
        auto target = yaml::readString(node, path, context.problems);
        if (!target) return;
        targets.push_back(std::move(*target));
    } else if (auto list = yaml::readStrings(node, path, context.problems)) {
        targets = std::move(*list);
    } else {
        return;
    }
    if (targets.empty())
        context.problems.error(path, node, "is empty (expected a provider or a list of them)");
    std::vector<std::string> known;
    for (const auto& provider : out.providers) {
        if (!provider.name.empty()) known.push_back(provider.name);
    }
    if (out.probe_ollama) known.emplace_back(kMadeOllama);
    for (std::size_t i = 0; i < targets.size(); ++i) {
        if (std::ranges::find(known, targets[i]) != known.end()) continue;
        const Node& at = node.isSequence() ? node.items[i] : node;
        context.problems.error(
            node.isSequence() ? yaml::itemPath(path, i) : path, at,
            fmt::format("there is no provider {} (expected {}{})", yaml::shown(targets[i]),
                        known.empty() ? std::string("one of llm.providers") : yaml::joinOr(known),
                        yaml::didYouMean(targets[i], known)));
    }
    out.aliases[alias] = std::move(targets);
}

void readMcpServer(const Node& node, const std::string& path, McpServerConfig& out,
                   Context& context) {
    Reader r(node, path, context.problems, Reader::Unknown::kLenient);
    readName(r, out.name);
    if (r.strings("command", out.command) && (out.command.empty() || out.command.front().empty()))
        r.error("command", "is empty (expected a list: the program and its arguments)");
    if (r.string("url", out.url)) checkUrl(r, "url", out.url);
    if (r.has("command") == r.has("url") && node.isMapping())
        r.error("needs one of command and url");
    if (const Node* env = r.get("env")) {
        Reader variables(*env, r.path("env"), context.problems, Reader::Unknown::kLenient);
        for (const auto& entry : env->entries)
            readSecret(variables, entry.key, out.env[entry.key], context);
    }
    r.duration("idle_timeout", out.idle_timeout_ms, kTimeout);
    r.finish();
}

}  // namespace

void readLlm(const Node* node, LlmConfig& out, Context& context) {
    Node empty;
    empty.kind = Node::Kind::kMapping;
    Reader r(node ? *node : empty, "llm", context.problems, Reader::Unknown::kLenient);
    if (const Node* providers = r.get("providers")) readProviders(*providers, out, context);
    if (out.providers.empty()) makeProviders(out, context.env);
    if (const Node* aliases = r.get("aliases")) {
        if (!aliases->isMapping())
            r.error("aliases", fmt::format("is {} (expected a mapping)", describe(*aliases)));
        for (const auto& entry : aliases->entries)
            readAlias(entry.value, entry.key, out, context);
    }
    if (!out.aliases.contains("default") && !out.providers.empty())
        out.aliases["default"] = {out.providers.front().name};
    r.finish();
}

void readTools(const Node& node, ToolsConfig& out, Context& context) {
    Reader r(node, "tools", context.problems, Reader::Unknown::kLenient);
    if (const Node* dispatcher = r.get("builtin_dispatcher")) {
        Reader fields(*dispatcher, "tools.builtin_dispatcher", context.problems,
                      Reader::Unknown::kLenient);
        fields.boolean("enabled", out.dispatcher_enabled);
        fields.size("output_limit_bytes", out.output_limit_bytes, kOutputBytes);
        fields.integer("timeout_secs", out.timeout_secs, 1, kTimeout.max_ms / 1000);
        fields.finish();
    }
    if (const Node* allowed = r.get("subcommand_allowlist")) {
        auto lists =
            yaml::readStringLists(*allowed, r.path("subcommand_allowlist"), context.problems);
        if (lists) out.subcommand_allowlist = std::move(*lists);
    }
    if (const Node* servers = r.get("mcp_servers")) {
        if (!servers->isSequence())
            r.error("mcp_servers", fmt::format("is {} (expected a list)", describe(*servers)));
        for (std::size_t i = 0; i < servers->items.size(); ++i) {
            auto path = yaml::itemPath("tools.mcp_servers", i);
            McpServerConfig server;
            readMcpServer(servers->items[i], path, server, context);
            bool twice = std::ranges::any_of(
                out.mcp_servers, [&](const auto& other) { return other.name == server.name; });
            if (twice && !server.name.empty())
                context.problems.error(
                    yaml::childPath(path, "name"), servers->items[i],
                    fmt::format("another server is named {} too", yaml::shown(server.name)));
            out.mcp_servers.push_back(std::move(server));
        }
    }
    r.finish();
}

}  // namespace detail

std::string_view name(ProviderType type) {
    for (const auto& [word, value] : detail::kTypes) {
        if (value == type) return word;
    }
    return "";
}

bool ProviderConfig::lacksKey() const {
    bool vendor = type == ProviderType::kOpenai || type == ProviderType::kAnthropic;
    return vendor && base_url.empty() && api_key.empty();
}

}  // namespace aegis::config
