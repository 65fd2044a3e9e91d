#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "text/json.h"

/// The JSON that bootstrap.py and the daemon exchange on `POST /v1/llm/generate` of a sandbox's
/// api.sock. What comes in is hostile: bounded, checked field by field, unknown fields ignored.
/// Pure; any thread.
namespace aegis::proto::guest {

inline constexpr std::string_view kGeneratePath = "/v1/llm/generate";
/// A prompt of 8 MiB of input, or two tails of output, as JSON.
inline constexpr std::size_t kMaxBodyBytes = 24 * 1024 * 1024;
inline constexpr std::size_t kMaxPromptBytes = 20 * 1024 * 1024;
inline constexpr std::size_t kMaxIdBytes = 256;
/// Beyond this the dispatched command's tails are cut by bootstrap.py whatever the dispatch asks
/// for.
inline constexpr std::size_t kMaxOutputBytes = 1'900'000;

/// How PID 1 runs bootstrap.py; the prompt, or "-" for stdin, is to be appended. Imported rather
/// than run, so that Python uses the compiled form beside it.
std::vector<std::string> bootstrapArgv(std::string_view python = "python3");

struct GenerateRequest {
    std::string request_id;  ///< the same when the request is repeated
    std::string agent_id;
    std::string execution_id;
    std::int64_t iteration_number = 0;  ///< from 1
    std::string model_alias;
    std::string prompt;
    json::Array messages;  ///< further messages, as given; empty from bootstrap.py
};

struct DispatchResult {
    std::string execution_id;
    std::string dispatch_id;
    std::int32_t exit_code = 0;  ///< -1: the action is unknown
    std::string stdout_text;
    std::string stderr_text;
    std::int64_t duration_ms = 0;
    bool truncated = false;
};

using Request = std::variant<GenerateRequest, DispatchResult>;

/// Parses a request's body. kTooLarge beyond a limit; kInvalid with, in details, the path of the
/// field that is missing or of the wrong type, or the place where it is no JSON.
Result<Request> parseRequest(std::string_view body);

/// What the daemon asks bootstrap.py to run.
struct Dispatch {
    std::string dispatch_id;
    std::string command;
    std::vector<std::string> args;
    std::string cwd;
    std::vector<std::pair<std::string, std::string>> env_additions;
    double timeout_secs = 60;
    std::uint64_t max_output_bytes = 0;
};

/// The lines of the answer's stream, each with its newline. Text that is not UTF-8 is replaced.
std::string deltaLine(std::string_view content);
std::string dispatchLine(const Dispatch& dispatch);
std::string finalLine(std::string_view content, std::int64_t tool_calls_executed);
/// `retryable`: bootstrap.py asks again, with the same request_id, after a while.
std::string errorLine(std::string_view code, std::string_view message, bool retryable);

}  // namespace aegis::proto::guest
