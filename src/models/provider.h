#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/dialect.h"
#include "models/scripted.h"

namespace aegis::models {

/// The name of the provider that is made of an Ollama found, and where Ollama listens by default.
inline constexpr std::string_view kOllamaName = "ollama";
inline constexpr std::string_view kOllamaUrl = "http://localhost:11434";

/// One configured provider: over HTTP if it has a dialect, else a script. Immutable.
struct Provider {
    ProviderSettings settings;
    std::unique_ptr<const Dialect> dialect;
    std::optional<Script> script;
    bool needs_key = false;

    bool lacksKey() const { return needs_key && settings.api_key.empty(); }
};

/// shared_ptr: calls under way go on with the providers they started with, across a reload.
using ProviderPtr = std::shared_ptr<const Provider>;

/// Everything that a name can mean at one time. Immutable once it is in a router.
struct Catalog {
    std::vector<ProviderPtr> providers;                       ///< in the order of the configuration
    std::map<std::string, std::vector<std::string>> aliases;  ///< to names of providers
    bool probe_ollama = false;  ///< no provider is configured: add a reachable Ollama as "ollama"

    /// The providers behind an alias that are there, in the order to try; `default` falls back to
    /// the first provider. kUnavailable if there is none, kNotFound for an unknown alias; both say
    /// what to do.
    Result<std::vector<ProviderPtr>> resolve(const std::string& alias) const;
    /// Whether resolve() finds everything that the alias names.
    bool resolvesWhole(const std::string& alias) const;
    /// Sorted.
    std::vector<std::string> names() const;
};

ProviderPtr makeOpenAiProvider(ProviderSettings settings);
ProviderPtr makeAnthropicProvider(ProviderSettings settings);
/// Ollama by its OpenAI-compatible API: `base_url` is the server's (no /v1), no key is needed.
ProviderPtr makeOllamaProvider(ProviderSettings settings);
ProviderPtr makeScriptedProvider(ProviderSettings settings, Script script);

}  // namespace aegis::models
