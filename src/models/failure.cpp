#include "models/failure.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace aegis::models {
namespace {

std::string redacted(std::string text, const Secret& key) {
    const std::string& word = key.reveal();
    if (word.empty()) return text;
    for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += 3)
        text.replace(at, word.size(), "***");
    return text;
}

std::string named(const ProviderSettings& provider) {
    return fmt::format("provider {}", json::quote(provider.name));
}

Error about(const ProviderSettings& provider, ErrorCode code, std::string_view text,
            std::string hint = {}) {
    return {code, named(provider) + redacted(oneLine(text, 600), provider.api_key),
            std::move(hint)};
}

struct Meaning {
    ErrorCode code = ErrorCode::kInvalid;
    std::string text;
    std::string hint;
    bool retryable = false;
    bool fallback = false;
};

Meaning meaningOf(const ProviderSettings& provider, int status) {
    if (status == 401)
        return {ErrorCode::kUnauthenticated, "refused the API key", provider.key_hint, false, true};
    if (status == 403)
        return {ErrorCode::kPermissionDenied, "does not permit this",
                "check what the API key may do with this provider", false, false};
    if (status == 404)
        return {
            ErrorCode::kNotFound,
            fmt::format("does not know the model {} or the address", json::quote(provider.model)),
            "check model and base_url of this provider in llm.providers", false, false};
    if (status == 408) return {ErrorCode::kTimeout, "gave up waiting", "", true, true};
    if (status == 413)
        return {ErrorCode::kTooLarge, "finds the request too large", "", false, false};
    if (status == 429)
        return {ErrorCode::kTooMany, "limits the rate or the quota is used up",
                "wait, raise the quota, or add a second provider to the alias", true, true};
    if (status >= 500) return {ErrorCode::kUnavailable, "failed", "", true, true};
    if (status >= 400) return {ErrorCode::kInvalid, "refused the request", "", false, false};
    return {ErrorCode::kUnavailable, "gave an answer that is none",
            "check base_url of this provider in llm.providers", false, false};
}

// RFC 9110 5.6.7, the form that senders must use: "Sun, 06 Nov 1994 08:49:37 GMT".
std::optional<UtcTime> parseHttpDate(std::string_view text) {
    if (text.size() != 29 || !text.ends_with(" GMT")) return std::nullopt;
    constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
    std::size_t month = kMonths.find(text.substr(8, 3));
    if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
    return UtcTime::parse(fmt::format("{}-{:02}-{}T{}Z", text.substr(12, 4), month / 3 + 1,
                                      text.substr(5, 2), text.substr(17, 8)));
}

std::optional<std::int64_t> parseNumber(std::string_view text) {
    std::int64_t number = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (ec != std::errc() || end != text.data() + text.size() || number < 0 ||
        number > 1'000'000'000)
        return std::nullopt;
    return number;
}

}  // namespace

std::optional<std::int64_t> retryAfterMs(const wire::Headers& headers, UtcTime now) {
    if (auto ms = parseNumber(headers.get("retry-after-ms"))) return ms;
    std::string_view value = headers.get("retry-after");
    if (auto seconds = parseNumber(value)) return *seconds * 1000;
    if (auto date = parseHttpDate(value)) return std::max<std::int64_t>(date->ms - now.ms, 0);
    return std::nullopt;
}

Failure transferFailure(const ProviderSettings& provider, const Error& error) {
    switch (error.code) {
        case ErrorCode::kTimeout:
            return {
                about(provider, ErrorCode::kTimeout,
                      fmt::format(" gave no whole answer in time ({} s): {}",
                                  json::dumpNumber(static_cast<double>(provider.timeout_ms) / 1000),
                                  error.message),
                      "raise this provider's timeout in llm.providers, or the agent's timeouts"),
                false, true, std::nullopt};
        case ErrorCode::kUnreachable:
            return {about(provider, ErrorCode::kUnreachable, " cannot be reached: " + error.message,
                          "check base_url of this provider in llm.providers, and the network"),
                    true, true, std::nullopt};
        case ErrorCode::kIo:
            return {about(provider, ErrorCode::kUnreachable,
                          ": the connection broke in the middle of the answer: " + error.message),
                    true, true, std::nullopt};
        default:
            return {about(provider, error.code, ": " + error.message), false, false, std::nullopt};
    }
}

Failure statusFailure(const ProviderSettings& provider, int status, const wire::Headers& headers,
                      std::string_view body, UtcTime now) {
    Meaning meaning = meaningOf(provider, status);
    std::string text = fmt::format(" {} (HTTP {})", meaning.text, status);
    if (std::string said = providerMessage(redacted(std::string(body), provider.api_key));
        !said.empty())
        text += ": " + said;
    return {about(provider, meaning.code, text, meaning.hint), meaning.retryable, meaning.fallback,
            retryAfterMs(headers, now)};
}

Failure readFailure(const ProviderSettings& provider, const Error& error, Fault fault) {
    bool again = fault == Fault::kCut || fault == Fault::kOverloaded;
    return {about(provider, error.code, ": " + error.message, error.hint), again, again,
            std::nullopt};
}

Failure missingKey(const ProviderSettings& provider) {
    return {about(provider, ErrorCode::kUnauthenticated, " has no API key", provider.key_hint),
            false, true, std::nullopt};
}

}  // namespace aegis::models
