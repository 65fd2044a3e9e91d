#include "models/from_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/curl_http_out.h"

namespace aegis::models {
namespace {

using config::ProviderType;

std::string keyHint(const config::ProviderConfig& config) {
    std::string vendor =
        config.type == ProviderType::kAnthropic ? "ANTHROPIC_API_KEY" : "OPENAI_API_KEY";
    if (!config.api_key_variable.empty())
        return fmt::format("set {} to a valid key in the daemon's environment",
                           config.api_key_variable);
    return fmt::format("set api_key of the provider {} in llm.providers, for example to \"env:{}\"",
                       json::quote(config.name), vendor);
}

ProviderSettings settingsFrom(const config::ProviderConfig& config) {
    ProviderSettings out;
    out.name = config.name;
    out.api_key = config.api_key;
    out.key_hint = keyHint(config);
    out.model = config.model;
    out.base_url = config.base_url;
    out.api_version = config.api_version;
    out.max_tokens_field = config.max_tokens_field;
    out.max_tokens = config.max_tokens;
    out.temperature = config.temperature;
    out.timeout_ms = config.timeout_ms;
    out.max_response_bytes = config.max_response_bytes;
    if (config.price) {
        out.priced = true;
        out.input_per_mtok = config.price->input_per_mtok;
        out.output_per_mtok = config.price->output_per_mtok;
    }
    return out;
}

Result<ProviderPtr> providerFrom(const config::ProviderConfig& config) {
    ProviderSettings settings = settingsFrom(config);
    switch (config.type) {
        case ProviderType::kOpenai:
            return makeOpenAiProvider(std::move(settings));
        case ProviderType::kAnthropic:
            return makeAnthropicProvider(std::move(settings));
        case ProviderType::kOllama:
            return makeOllamaProvider(std::move(settings));
        case ProviderType::kScripted:
            break;
    }
    AEGIS_TRY(Script script, Script::load(config.script));
    if (settings.model.empty()) settings.model = "scripted";
    return makeScriptedProvider(std::move(settings), std::move(script));
}

}  // namespace

Result<Catalog> catalogFrom(const config::LlmConfig& config) {
    Catalog out;
    out.aliases = config.aliases;
    out.probe_ollama = config.probe_ollama;
    std::optional<Error> first;
    for (const auto& one : config.providers) {
        auto provider = providerFrom(one);
        if (provider) {
            out.providers.push_back(std::move(*provider));
            continue;
        }
        Error error =
            std::move(provider.error()).within(fmt::format("provider {}", json::quote(one.name)));
        if (first) {
            std::ranges::move(error.details, std::back_inserter(first->details));
            continue;
        }
        first = std::move(error);
        first->code = ErrorCode::kInvalid;
    }
    if (first) return std::move(*first);
    return out;
}

Result<std::unique_ptr<Router>> makeRouter(const config::LlmConfig& config, net::CurlMulti& curl,
                                           Clock& clock, Random& random) {
    AEGIS_TRY(Catalog catalog, catalogFrom(config));
    return std::make_unique<Router>(std::make_unique<CurlHttpOut>(curl),
                                    std::make_unique<TimerThread>(clock), clock, random,
                                    std::move(catalog));
}

}  // namespace aegis::models
