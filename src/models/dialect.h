#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "models/wire_names.h"
#include "ports/models.h"

namespace aegis::models {

/// What one HTTP provider is configured to be.
struct ProviderSettings {
    std::string name;
    Secret api_key;
    std::string key_hint;  ///< how a user sets the key: "set OPENAI_API_KEY"
    std::string model;
    std::string base_url;  ///< empty: the vendor's own
    std::string api_version;
    std::string max_tokens_field;  ///< OpenAI's dialect only; empty: by base_url
    std::optional<int> max_tokens;
    std::optional<double> temperature;
    std::int64_t timeout_ms = 120'000;  ///< one attempt
    double input_per_mtok = 0;          ///< US dollars for 1,000,000 tokens
    double output_per_mtok = 0;
    bool priced = false;  ///< the two prices are known, not just 0
    std::uint64_t max_response_bytes = 8U << 20;
};

/// A request as it goes out. The body is shared by the attempts and the transfer that sends it.
struct WireRequest {
    std::string url;
    std::vector<std::pair<std::string, std::string>> headers;
    std::vector<std::pair<std::string, Secret>> secret_headers;
    std::shared_ptr<const std::string> body;
    WireNames tools;
};

/// Why an answer could not be read; what may be tried next depends on it.
enum class Fault : std::uint8_t {
    kNone,
    kNonsense,  ///< it breaks the protocol
    kCut,       ///< it ends too early
    kTooLarge,
    kRefused,     ///< the provider says that the request is wrong
    kOverloaded,  ///< the provider says that it failed for the moment
};

using DeltaFn = std::function<void(std::string_view text)>;

/// Reads one answer (the body of a 200) as it arrives. One thread at a time; never throws. After
/// the first error it stays failed.
class AnswerReader {
  public:
    virtual ~AnswerReader() = default;
    /// Takes the next bytes; calls `delta` for each piece of the answer's text.
    virtual Status feed(std::string_view bytes, const DeltaFn& delta) = 0;
    /// The body has ended. Errors if the answer is not whole. Calls `delta` for a body that was no
    /// stream.
    virtual Result<ports::ModelAnswer> finish(const DeltaFn& delta) = 0;
    /// Everything that belongs to the answer is here; what else comes is of no interest.
    virtual bool complete() const = 0;
    virtual Fault fault() const = 0;
};

/// A provider's wire format. Immutable; safe on any thread.
class Dialect {
  public:
    virtual ~Dialect() = default;
    virtual WireRequest encode(const ports::ModelRequest& request) const = 0;
    /// For one attempt at a request encoded with `tools`.
    virtual std::unique_ptr<AnswerReader> reader(WireNames tools) const = 0;
};

/// A message's text; lives as long as the message.
inline std::string_view contentOf(const ports::Message& message) {
    return message.content ? std::string_view(*message.content) : std::string_view();
}

/// `base_url` (or `fallback` if empty) without trailing slashes, and `path`.
std::string joinUrl(std::string_view base_url, std::string_view fallback, std::string_view path);

/// The JSON Schema of a tool's parameters as providers want it: always of type object.
std::string parametersText(const json::Value& parameters);

/// A JSON list of strings.
std::string listText(const std::vector<std::string>& texts);

/// The names of all tools of a request, offered or called in its history.
WireNames wireNamesOf(const ports::ModelRequest& request);

/// What a provider says in a body that is an error: "error.message", "error", "message", "detail",
/// or the start of a text that is no JSON. One line, control characters escaped, at most 300 bytes;
/// may be empty.
std::string providerMessage(std::string_view body);

/// `text` on one line with control characters escaped, cut to `limit` bytes.
std::string oneLine(std::string_view text, std::size_t limit = 300);

}  // namespace aegis::models
