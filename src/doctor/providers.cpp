// The model providers: each is asked for its list of models, which costs nothing and shows whether
// the key is taken.

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "doctor/checks.h"

namespace aegis::doctor {
namespace {

using config::ProviderType;

constexpr std::int64_t kSkewMs = 60'000;
constexpr std::string_view kNoKey = "there is no key for it here";
constexpr std::string_view kNone = "no model provider is configured";
constexpr std::string_view kOllamaUrl = "http://localhost:11434";

std::string checkName(const config::ProviderConfig& provider) {
    return "provider " + provider.name;
}

std::string baseUrl(const config::ProviderConfig& provider) {
    std::string url = provider.base_url;
    if (url.empty()) {
        switch (provider.type) {
            case ProviderType::kAnthropic:
                url = "https://api.anthropic.com";
                break;
            case ProviderType::kOllama:
                url = kOllamaUrl;
                break;
            default:
                url = "https://api.openai.com/v1";
        }
    }
    while (url.ends_with('/'))
        url.pop_back();
    return url;
}

/// "host:port" of a URL: what stands before it (a password) and after it stays hidden.
std::string hostOf(std::string_view url) {
    if (auto scheme = url.find("://"); scheme != url.npos) url.remove_prefix(scheme + 3);
    url = url.substr(0, url.find_first_of("/?#"));
    if (auto at = url.rfind('@'); at != url.npos) url.remove_prefix(at + 1);
    return std::string(url);
}

ProviderRequest requestFor(const config::ProviderConfig& provider) {
    ProviderRequest out;
    out.url = baseUrl(provider);
    const auto& key = provider.api_key;
    switch (provider.type) {
        case ProviderType::kOllama:
            out.url += "/api/tags";
            break;
        case ProviderType::kAnthropic:
            out.url += "/v1/models";
            out.headers = {{"anthropic-version", "2023-06-01"}};
            if (!key.empty()) out.secret_headers = {{"x-api-key", key}};
            break;
        default:
            out.url += "/models";
            if (!provider.api_version.empty()) out.url += "?api-version=" + provider.api_version;
            if (key.empty()) break;
            if (provider.api_version.empty())
                out.secret_headers = {{"Authorization", Secret("Bearer " + key.reveal())}};
            else
                out.secret_headers = {{"api-key", key}};
    }
    return out;
}

std::string keyHint(const config::ProviderConfig& provider) {
    if (!provider.api_key_variable.empty())
        return fmt::format("set {} to a valid key in the daemon's environment",
                           provider.api_key_variable);
    return fmt::format("set api_key of the provider \"{}\" in llm.providers", provider.name);
}

/// Whether an Ollama's list of models has `model`, with or without its tag; its names otherwise.
bool listsModel(std::string_view body, const std::string& model, std::string& names) {
    auto value = json::parse(body);
    const auto* models = value ? json::find(*value, "models") : nullptr;
    if (models == nullptr || !models->is_array()) return true;
    for (const auto& one : models->get_array()) {
        auto name = json::getString(one, "name");
        if (name == model || name == model + ":latest") return true;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
    }
    return false;
}

/// Milliseconds between our clock and an HTTP date (RFC 9110, 5.6.7); 0 if it cannot be read.
std::int64_t skewMs(const std::string& date, UtcTime now) {
    std::tm parts{};
    const char* end = ::strptime(date.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (end == nullptr) return 0;
    return now.ms - static_cast<std::int64_t>(::timegm(&parts)) * 1000;
}

Finding judge(const config::ProviderConfig& provider, const ProviderAnswer& answer) {
    auto host = hostOf(baseUrl(provider));
    Finding out{State::kOk, checkName(provider), {}, {}};
    auto warn = [&](std::string detail, std::string hint) {
        out.state = State::kWarn;
        out.detail = std::move(detail);
        out.hint = std::move(hint);
        return out;
    };
    if (answer.status == 401 || answer.status == 403)
        return warn(fmt::format("{} refuses the key (HTTP {})", host, answer.status),
                    keyHint(provider));
    if (answer.status >= 500 || answer.status == 429)
        return warn(fmt::format("{} answers with HTTP {}", host, answer.status),
                    "try again later; a fall-back can be named in llm.aliases");
    out.detail = fmt::format("{} answers, {} ms", host, answer.took_ms);
    // A server of the user's own need not have such a list.
    if (answer.status / 100 != 2) out.detail += fmt::format(" (HTTP {})", answer.status);
    std::string names;
    if (provider.type == ProviderType::kOllama && answer.status == 200 &&
        !listsModel(answer.body, provider.model, names))
        return warn(fmt::format("{} does not have the model {}", host, provider.model),
                    fmt::format("ollama pull {}{}", provider.model,
                                names.empty() ? "" : "; it has: " + names));
    return out;
}

}  // namespace

Findings checkProvider(Machine& machine, const config::ProviderConfig& provider) {
    auto check = checkName(provider);
    if (provider.type == ProviderType::kScripted) {
        auto script = machine.path(provider.script);
        if (script && script->exists && !script->directory)
            return {{State::kOk, check, "a script answers: " + provider.script, {}}};
        return {{State::kWarn, check, provider.script + ": the script is not there",
                 "correct the provider's script"}};
    }
    if (provider.lacksKey()) return {{State::kWarn, check, std::string(kNoKey), keyHint(provider)}};
    auto answer = machine.get(requestFor(provider));
    if (!answer)
        return {{State::kWarn, check,
                 fmt::format("{} cannot be reached ({})", hostOf(baseUrl(provider)),
                             answer.error().message),
                 "check its base_url, and this machine's way to it"}};
    Findings out{judge(provider, *answer)};
    auto skew = skewMs(answer->date, machine.now());
    if (skew > kSkewMs || skew < -kSkewMs)
        out.push_back(
            {State::kWarn, "clock",
             fmt::format("differs from that of {} by {} s", hostOf(baseUrl(provider)), skew / 1000),
             "timedatectl set-ntp true"});
    return out;
}

Findings checkNoProvider(Machine& machine, const Subject& subject) {
    if (!subject.config.llm.probe_ollama) return {};
    auto answer = machine.get({std::string(kOllamaUrl) + "/api/tags", {}, {}});
    auto value = answer && answer->status == 200 ? json::parse(answer->body)
                                                 : Result<json::Value>(json::Value());
    const auto* models = value ? json::find(*value, "models") : nullptr;
    if (models != nullptr && models->is_array() && !models->get_array().empty())
        return {{State::kOk,
                 "provider ollama",
                 fmt::format("{} answers, with {}", hostOf(kOllamaUrl),
                             json::getString(models->get_array().front(), "name")),
                 {}}};
    if (!subject.config.llm.providers.empty()) return {};
    return {{State::kWarn, "provider", std::string(kNone),
             "set OPENAI_API_KEY or ANTHROPIC_API_KEY in the daemon's environment, start Ollama, "
             "or write llm.providers"}};
}

void settleProviders(Findings& findings, bool daemon_runs) {
    auto isProvider = [](const Finding& one) { return one.check.starts_with("provider"); };
    if (std::ranges::any_of(findings, [&](const Finding& one) {
            return isProvider(one) && one.state == State::kOk;
        }))
        return;
    for (auto& one : findings) {
        bool may_be_elsewhere = one.detail == kNoKey || one.detail == kNone;
        if (isProvider(one) && !(may_be_elsewhere && daemon_runs)) one.state = State::kFail;
    }
}

}  // namespace aegis::doctor
