#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "text/json.h"

namespace aegis::execution {

/// Limits on what one event may carry, in bytes of UTF-8. Longer texts go to a body or are cut.
inline constexpr std::size_t kMaxEventBytes = 4096;
inline constexpr std::size_t kMaxMessageBytes = 1024;
inline constexpr std::size_t kMaxSummaryBytes = 512;
inline constexpr std::uint64_t kMaxEventsPerExecution = 100'000;

/// A text stored beside the journal, named by its SHA-256 (64 lower-case hex digits). Empty = no
/// body.
struct BodyRef {
    std::string sha256;
    std::uint64_t size = 0;
    bool empty() const { return sha256.empty(); }
    bool operator==(const BodyRef&) const = default;
};

/// How an execution ends.
enum class Outcome : std::uint8_t { kCompleted, kFailed, kCancelled };

/// Why something failed: one of the codes of the API's records, and a line for people.
struct Failure {
    std::string code;
    std::string message;
    bool operator==(const Failure&) const = default;
};
namespace failure_code {
inline constexpr std::string_view kValidationExhausted = "validation_exhausted";
inline constexpr std::string_view kTimeout = "timeout";
inline constexpr std::string_view kIterationTimeout = "iteration_timeout";
inline constexpr std::string_view kSandboxError = "sandbox_error";
inline constexpr std::string_view kOutOfMemory = "out_of_memory";
inline constexpr std::string_view kModelError = "model_error";
inline constexpr std::string_view kModelCallLimit = "model_call_limit";
inline constexpr std::string_view kToolCallLimit = "tool_call_limit";
inline constexpr std::string_view kBudgetExceeded = "budget_exceeded";
inline constexpr std::string_view kInternal = "internal";
}  // namespace failure_code

struct Usage {
    std::uint64_t calls = 0;
    std::uint64_t prompt_tokens = 0;
    std::uint64_t completion_tokens = 0;
    double cost_usd = 0;
    void add(const Usage& other);
    bool operator==(const Usage&) const = default;
};

/// One validator's verdict. `detail` is cut to fit an event; the whole text is in the error body.
struct ValidationResult {
    std::string validator;
    bool passed = false;
    double score = 0;
    double confidence = 1;
    std::string detail;
    bool operator==(const ValidationResult&) const = default;
};

/// What one call of the model is expected to use. Counts as spent until what it did use is known,
/// and as used where that is never known.
struct Reservation {
    std::int64_t tokens = 0;
    double usd = 0;
    bool operator==(const Reservation&) const = default;
};

/// What a whole execution may use at most; what is absent is not limited.
struct Budget {
    std::optional<double> usd;
    std::optional<std::int64_t> tokens, llm_calls, tool_calls;
    double input_usd_per_mtok = 0;  ///< prices the first reservation, made from a request's size
    bool operator==(const Budget&) const = default;
};

/// What the core must know of the manifest and the request, fixed when the execution is created.
struct Plan {
    int max_iterations = 10;
    std::int64_t iteration_timeout_ms = 300'000;
    std::int64_t timeout_ms = 300'000;
    int max_tool_calls = 500;
    int max_model_calls = 200;
    bool checks_exit_code = true;  ///< an exit_code validator is listed
    bool has_validators = true;
    bool has_volumes = false;
    std::optional<Budget> budget;
    bool operator==(const Plan&) const = default;
};

// ---- The events' data, one struct for each type. ----

struct ExecutionCreated {
    AgentId agent_id;
    std::string agent_name;
    int agent_revision = 0;
    BodyRef input;
    Plan plan;
    std::string model_alias;
    std::map<std::string, std::string> labels;
    ExecutionId root;    ///< nil: this execution is its own root
    ExecutionId parent;  ///< nil: started by a person or a client
};
struct CancelRequested {
    std::string reason;
};
struct OutcomeDecided {
    Outcome outcome = Outcome::kFailed;
    Failure failure;  ///< empty code unless failed
    BodyRef output;   ///< of the last iteration, when there is one
    bool operator==(const OutcomeDecided&) const = default;
};
/// A performer is gone (the daemon died): the effect's fate is unknown and it may be tried again.
struct EffectLost {
    std::string effect;  ///< "sandbox", "llm_call", "tool_call", "volumes", "validation"
    int call = 0;        ///< of an llm_call or tool_call
};
struct ExecutionStarted {
    UtcTime deadline;
};
struct IterationStarted {
    UtcTime deadline;
    BodyRef previous_error;
};
struct SandboxStarted {
    std::string runtime;  ///< "docker"
    std::string name;     ///< the container's id or the like, for people
    std::int64_t start_ms = 0;
};
/// The model is asked. `turn` 0 opens conversation number `conversation` of the iteration.
struct LlmCallStarted {
    int call = 0;  ///< from 1, per iteration
    int conversation = 0;
    int turn = 0;
    std::string request_id;
    std::string model_alias;
    BodyRef prompt;  ///< with turn 0: {"prompt","messages"}, or the one form of proto/chat.h
    std::optional<Reservation> reserved;  ///< where there is a budget
    /// "openai" or "anthropic": asked in that API's format by a program with a loop and tools of
    /// its own. The answer, whatever it is, ends the conversation. Empty: asked with `generate`.
    std::string format = {};
};
struct LlmCallCompleted {
    int call = 0;
    BodyRef answer;  ///< {"content","tool_calls":[{"id","name","arguments"}]}, and with a format
                     ///< "finish_reason", "stop_sequence" and "usage"
    int tool_calls = 0;
    Usage usage;
    std::string provider;
    std::string model;
    std::string finish_reason;
    std::int64_t duration_ms = 0;
};
struct LlmCallFailed {
    int call = 0;
    Failure failure;
    std::int64_t duration_ms = 0;
};
struct ToolCallStarted {
    int call = 0;  ///< from 1, per iteration
    int conversation = 0;
    int turn = 0;
    int index = 0;  ///< which of the answer's tool calls
    std::string tool;
    std::string summary;
    std::string dispatch_id;  ///< not empty: runs in the container
    bool barrier = false;     ///< must not be repeated: durable before it runs
};
struct ToolCallCompleted {
    int call = 0;
    std::string tool;
    std::string summary;
    bool ok = true;
    std::optional<int> exit_code;
    std::string reason;  ///< of a failure, one line
    BodyRef result;      ///< what the model is told
    std::int64_t duration_ms = 0;
};
/// Refused before it ran; counts as completed with `result` as its error text.
struct ToolCallDenied {
    int call = 0;
    int conversation = 0;
    int turn = 0;
    int index = 0;
    std::string tool;
    std::string summary;
    std::string reason;
    BodyRef result;
};
/// `verdict` of one connection attempt of the guest.
struct EgressDecided {
    bool allowed = false;
    std::string host;
    int port = 0;
    std::string reason;
    std::uint64_t bytes = 0;
};
/// Live output, coalesced and capped; for watching only, nothing is derived from it.
struct OutputAppended {
    std::string stream;  ///< "model"
    std::string text;
};
struct IterationCompleted {
    std::optional<int> exit_code;  ///< of the bootstrap; none if it never ran or was killed by us
    Failure failure;               ///< empty code: it ended by itself and goes on to validation
    BodyRef output;
    BodyRef standard_output;
    BodyRef standard_error;
    BodyRef error;  ///< with a failure: the whole text that becomes previous_error
};
struct ValidationCompleted {
    std::vector<ValidationResult> results;
    double score = 0;
    bool passed = false;
    BodyRef error;  ///< whole details of what failed
};
struct IterationRefining {
    BodyRef error;
};
/// A call was not made, because the budget does not have what it needs.
struct BudgetExceeded {
    std::string what;  ///< "usd", "tokens", "llm_calls" or "tool_calls"
    std::string message;
};
struct VolumeAttached {
    VolumeId volume_id;
    std::string name;
    std::string mount_point;
};
struct VolumeDetached {
    VolumeId volume_id;
};
struct VolumeQuotaExceeded {
    VolumeId volume_id;
    std::string name;
};
struct ExecutionResumed {};
struct ExecutionCompleted {
    int iterations = 0;
    std::int64_t duration_ms = 0;
};
struct ExecutionFailed {
    int iterations = 0;
    std::int64_t duration_ms = 0;
    Failure failure;
};
struct ExecutionCancelled {
    int iterations = 0;
    std::int64_t duration_ms = 0;
};

using EventData =
    std::variant<ExecutionCreated, CancelRequested, OutcomeDecided, EffectLost, ExecutionStarted,
                 IterationStarted, SandboxStarted, LlmCallStarted, LlmCallCompleted, LlmCallFailed,
                 ToolCallStarted, ToolCallCompleted, ToolCallDenied, EgressDecided, OutputAppended,
                 IterationCompleted, ValidationCompleted, IterationRefining, BudgetExceeded,
                 VolumeAttached, VolumeDetached, VolumeQuotaExceeded, ExecutionResumed,
                 ExecutionCompleted, ExecutionFailed, ExecutionCancelled>;

/// One entry of an execution's log. `seq` runs from 1 without gaps. `iteration`, `candidate` and
/// `sandbox` are 0 where they do not apply; `sandbox` is an ordinal that only grows and fences
/// every message of a guest.
struct Event {
    std::uint64_t seq = 0;
    UtcTime time;
    int iteration = 0;
    int candidate = 0;
    int sandbox = 0;
    EventData data;
};

/// When an event must be on disk (architecture, "Durability classes").
enum class Durability : std::uint8_t {
    kBeforeEffect,   ///< A
    kBeforeRelease,  ///< B
    kSoon,           ///< C: with the next A or B, at most 50 ms later
    kCoalesced,      ///< D
};
Durability durabilityOf(const Event& event);

/// The type's name as users see it: "ExecutionCreated", "EgressAllowed", ...
std::string_view typeName(const Event& event);

/// All of them.
std::vector<std::string> eventTypes();

/// The version of the encoding that this build writes, for each type.
int encodingVersion(const Event& event);

/// The event's data as JSON, at most kMaxEventBytes long: what the journal stores.
json::Object encodeData(const Event& event);

/// Inverse of encodeData. Upcasts older versions; an unknown type or version is kUnsupported.
Result<EventData> decodeData(std::string_view type, int version, const json::Value& data);

/// The envelope as the API shows it:
/// {"seq","time","execution_id","agent_id","type","iteration"?,"candidate"?,"sandbox"?,"data"}.
json::Object toJson(const Event& event, const ExecutionId& execution, const AgentId& agent);

/// The same from parts already encoded: for events of a type that this build does not know. Of
/// `head` everything but its data is used.
json::Object envelopeJson(const Event& head, std::string_view type, json::Object data,
                          const ExecutionId& execution, const AgentId& agent);

}  // namespace aegis::execution
