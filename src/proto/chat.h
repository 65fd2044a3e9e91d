#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/json.h"

/// The wire formats of OpenAI's Chat Completions and Anthropic's Messages, from the server's side:
/// what agents that bring their own framework speak on a sandbox's api.sock. A request becomes one
/// form for both; an answer in that form becomes a document or a stream of either. What cannot be
/// passed on to every provider is refused, by the name of its field. Pure; any thread.
///
/// The one form of a request, `prompt`, has its members always in this order:
/// {"format","messages":[{"role":"system|user|assistant|tool","content","tool_calls"?:
/// [{"id","name","arguments"}],"tool_call_id"?,"is_error"?}],"tools"?:[{"name","description",
/// "parameters","strict"?}],"tool_choice"?:"auto|none|required" or {"name"},
/// "parallel_tool_calls"?:false,"temperature"?,"top_p"?,"max_tokens"?,"stop"?:[]}
namespace aegis::proto::chat {

enum class Format : std::uint8_t { kOpenAi, kAnthropic };

inline constexpr std::string_view kOpenAiPath = "/v1/chat/completions";
inline constexpr std::string_view kAnthropicPath = "/v1/messages";
inline constexpr std::size_t kMaxBodyBytes = 16 * 1024 * 1024;
inline constexpr std::size_t kMaxValues = 500'000;  ///< of JSON in a body
inline constexpr std::size_t kMaxMessages = 10'000;
inline constexpr std::size_t kMaxTools = 512;
inline constexpr std::size_t kMaxCalls = 1024;  ///< of one message

/// "openai" or "anthropic".
std::string_view nameOf(Format format);

struct Request {
    std::string model;  ///< an alias
    bool stream = false;
    bool include_usage = false;  ///< OpenAI's stream_options
    json::Object prompt;         ///< what the model is asked, without the three above
};

/// kInvalid, kUnsupported or kTooLarge; the first detail's path names the field, spelt as the
/// format's own API spells it.
Result<Request> parseRequest(Format format, std::string_view body);

/// The HTTP status and the body that the format's API has for an error.
int statusOf(Format format, ErrorCode code);
std::string errorBody(Format format, const Error& error);

/// What stands in every piece of an answer.
struct AnswerHead {
    std::string id;     ///< without the format's prefix
    std::string model;  ///< the alias that was asked
    std::int64_t created_s = 0;
};

/// The answer as one document. `answer` is {"content","tool_calls":[{"id","name","arguments"}],
/// "finish_reason","stop_sequence"?,"usage":{"prompt_tokens","completion_tokens"}}.
std::string document(Format format, const AnswerHead& head, const json::Value& answer);

/// The answer as server-sent events, in three kinds of calls: delta() as the model speaks, then
/// once finish() or fail(). Each returns the events' bytes.
class AnswerStream {
  public:
    AnswerStream(Format format, AnswerHead head, bool include_usage)
        : format_(format), head_(std::move(head)), include_usage_(include_usage) {}

    std::string delta(std::string_view text);
    /// The rest: text that no delta has told (`answer` begins with all that they have), tool calls,
    /// why it ended, the usage.
    std::string finish(const json::Value& answer);
    std::string fail(const Error& error) const;

  private:
    std::string begin();
    std::string chunk(json::Array choices, const json::Value& usage = nullptr) const;
    std::string choice(json::Object delta, const json::Value& finish_reason = nullptr) const;
    std::string finishOpenAi(const json::Value& answer);
    std::string finishAnthropic(const json::Value& answer);

    Format format_;
    AnswerHead head_;
    bool include_usage_;
    bool begun_ = false;
    bool in_text_ = false;  ///< Anthropic: the text's block is open
    std::size_t told_ = 0;  ///< bytes of text
};

}  // namespace aegis::proto::chat
