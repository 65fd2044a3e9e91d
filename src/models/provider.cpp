#include "models/provider.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "models/anthropic.h"
#include "models/openai.h"

namespace aegis::models {
namespace {

constexpr std::string_view kDefaultAlias = "default";

ProviderPtr make(ProviderSettings settings, std::unique_ptr<const Dialect> dialect,
                 std::optional<Script> script, bool needs_key) {
    auto provider = std::make_shared<Provider>();
    provider->settings = std::move(settings);
    provider->dialect = std::move(dialect);
    provider->script = std::move(script);
    provider->needs_key = needs_key;
    return provider;
}

}  // namespace

// A server of the user's own may do without a key; the vendors' do not.
ProviderPtr makeOpenAiProvider(ProviderSettings settings) {
    auto dialect = std::make_unique<OpenAiDialect>(settings);
    bool needs_key = settings.base_url.empty();
    return make(std::move(settings), std::move(dialect), std::nullopt, needs_key);
}

ProviderPtr makeAnthropicProvider(ProviderSettings settings) {
    auto dialect = std::make_unique<AnthropicDialect>(settings);
    bool needs_key = settings.base_url.empty();
    return make(std::move(settings), std::move(dialect), std::nullopt, needs_key);
}

ProviderPtr makeOllamaProvider(ProviderSettings settings) {
    settings.base_url = joinUrl(settings.base_url, kOllamaUrl, "/v1");
    auto dialect = std::make_unique<OpenAiDialect>(settings);
    return make(std::move(settings), std::move(dialect), std::nullopt, false);
}

ProviderPtr makeScriptedProvider(ProviderSettings settings, Script script) {
    return make(std::move(settings), nullptr, std::move(script), false);
}

Result<std::vector<ProviderPtr>> Catalog::resolve(const std::string& alias) const {
    if (providers.empty())
        return Error(
            ErrorCode::kUnavailable, "no model provider is configured",
            "set OPENAI_API_KEY or ANTHROPIC_API_KEY in the daemon's environment, start Ollama, "
            "or write llm.providers in aegis-config.yaml");
    auto found = aliases.find(alias);
    if (found == aliases.end()) {
        if (alias == kDefaultAlias) return std::vector<ProviderPtr>{providers.front()};
        return Error(ErrorCode::kNotFound,
                     fmt::format("unknown model alias {}", json::quote(alias)),
                     fmt::format("known aliases: {}", fmt::join(names(), ", ")));
    }
    std::vector<ProviderPtr> out;
    for (const std::string& name : found->second) {
        auto provider = std::ranges::find_if(
            providers, [&](const ProviderPtr& one) { return one->settings.name == name; });
        if (provider != providers.end()) out.push_back(*provider);
    }
    if (out.empty())
        return Error(ErrorCode::kUnavailable,
                     fmt::format("no provider of the model alias {} is there: {}",
                                 json::quote(alias), fmt::join(found->second, ", ")),
                     "start Ollama, or name another provider in llm.aliases");
    return out;
}

bool Catalog::resolvesWhole(const std::string& alias) const {
    auto found = aliases.find(alias);
    auto resolved = resolve(alias);
    return resolved && (found == aliases.end() || resolved->size() == found->second.size());
}

std::vector<std::string> Catalog::names() const {
    std::set<std::string> out;
    if (!providers.empty()) out.emplace(kDefaultAlias);
    for (const auto& [alias, targets] : aliases)
        out.insert(alias);
    return {out.begin(), out.end()};
}

}  // namespace aegis::models
