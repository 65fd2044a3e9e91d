#pragma once

#include <compare>
#include <unordered_map>

#include "execution/event.h"

namespace aegis::execution {

enum class Status : std::uint8_t { kNone, kPending, kRunning, kCompleted, kFailed, kCancelled };
/// "pending", "running", "completed", "failed", "cancelled".
std::string_view statusName(Status status);
inline bool isTerminal(Status s) {
    return s == Status::kCompleted || s == Status::kFailed || s == Status::kCancelled;
}

/// Where an iteration stands.
enum class Phase : std::uint8_t {
    kNone,         ///< no iteration has begun
    kNeedSandbox,  ///< begun, or its sandbox was lost
    kRunning,      ///< the bootstrap runs
    kValidating,   ///< the bootstrap ended by itself; validators run while the sandbox lives
    kClosing,      ///< broken or refused; its sandbox goes, then the next iteration begins
};

/// A tool call that has begun and not ended.
struct ToolRun {
    int call = 0;
    int index = 0;
    std::string tool;
    std::string summary;
    std::string dispatch_id;
    bool operator==(const ToolRun&) const = default;
};

/// One answer of the model and what became of its tool calls, in order.
struct Turn {
    BodyRef answer;
    int tool_calls = 0;
    std::vector<BodyRef> results;  ///< of the tool calls that have ended
    std::optional<ToolRun> current;
    bool operator==(const Turn&) const = default;
};

/// What one request of the guest started: a `generate`, or one in another API's format, which has
/// one turn.
struct Conversation {
    std::string request_id;
    std::string model_alias;
    std::string format;  ///< of LlmCallStarted
    BodyRef prompt;
    std::vector<Turn> turns;
    int calling = 0;                      ///< the number of the model call under way; 0: none
    bool want_call = false;               ///< a model call was lost and is to be begun again
    std::vector<std::string> dispatched;  ///< ids of dispatches that were answered
    int tools_executed = 0;
    bool failed = false;  ///< with a format: the model gave no answer, which the guest is told
    bool oneTurn() const { return !format.empty(); }
    bool finished() const {
        if (calling != 0 || want_call) return false;
        return failed || (!turns.empty() && (oneTurn() || turns.back().tool_calls == 0));
    }
    bool operator==(const Conversation&) const = default;
};

/// A reservation that is not settled yet.
struct OpenReservation {
    int iteration = 0;
    int call = 0;
    Reservation amount;
    bool operator==(const OpenReservation&) const = default;
};

/// What an execution has used of its budget. Calls count when they begin, tokens and money when
/// they are settled: as reported, or as reserved where nothing was reported or nobody came back.
struct Spending {
    std::int64_t llm_calls = 0, tool_calls = 0;
    Reservation settled;
    Reservation largest;  ///< call so far; what the next one is expected to use
    std::vector<OpenReservation> open;
    bool operator==(const Spending&) const = default;
};

/// Everything the rules need, folded from the events; digests and counters, never bodies.
struct State {
    std::uint64_t last_seq = 0;
    Status status = Status::kNone;
    Plan plan;
    BodyRef input;
    std::string model_alias;
    UtcTime created_at, started_at, ended_at, deadline;
    bool volumes_attached = false;
    std::vector<VolumeId> volumes;       ///< attached ones
    std::vector<VolumeId> full_volumes;  ///< found full in this iteration
    std::optional<OutcomeDecided> outcome;

    int iteration = 0;
    Phase phase = Phase::kNone;
    UtcTime iteration_deadline;
    int sandbox = 0;            ///< the newest ordinal begun
    bool sandbox_open = false;  ///< it may have live processes
    BodyRef previous_error;     ///< of the iteration that runs
    BodyRef next_error;         ///< of the iteration to come
    Failure iteration_failure;  ///< of the iteration that closes
    Failure previous_failure;   ///< of the iteration before; its text where previous_error is empty
    BodyRef output;             ///< of the newest iteration that ended by itself
    std::optional<int> exit_code;
    BodyRef standard_output, standard_error;
    std::vector<Conversation> conversations;  ///< of this iteration
    /// Those that are not finished, ascending, and all by their request: what a call costs must not
    /// grow with the number of calls before it.
    std::vector<std::size_t> open;
    std::unordered_map<std::string, std::size_t> by_request;
    int model_calls = 0;                      ///< of this iteration
    int tool_calls = 0;                       ///< of this iteration
    std::size_t output_events = 0;            ///< of this iteration
    Usage usage;                              ///< of the whole execution
    Spending spending;                        ///< of the whole execution
    bool operator==(const State&) const = default;
};

/// Names one thing that goes on outside the core. Equal keys are the same effect.
struct EffectKey {
    enum class Kind : std::uint8_t {
        kAdmit,  ///< wait for a place to run
        kAttachVolumes,
        kStartSandbox,  ///< and report when its bootstrap ends
        kCallModel,
        kAdmitTool,  ///< look at a tool call: refuse, run here, or dispatch
        kRunTool,    ///< in the daemon
        kValidate,
        kCloseSandbox,  ///< until no process is left; then, if `last`, detach the volumes
        kTimer,
    };
    Kind kind = Kind::kAdmit;
    int iteration = 0;
    int sandbox = 0;
    int conversation = 0;
    int turn = 0;
    int index = 0;
    int call = 0;
    bool last = false;
    UtcTime at;  ///< of a timer
    auto operator<=>(const EffectKey&) const = default;
};

/// The conversation that was asked for with that id, or whose model call has that number.
std::optional<std::size_t> conversationOf(const State& state, const std::string& request_id);
std::optional<std::size_t> conversationCalling(const State& state, int call);

/// The answer that ended the newest finished `generate` of this iteration; empty: there is none.
BodyRef finalAnswer(const State& state);

/// The ordinal of the sandbox that this iteration has, is getting, or is getting rid of.
int currentSandbox(const State& state);

/// Folds one event. Total: an event that makes no sense in this state changes only last_seq.
void apply(State& state, const Event& event);

/// What should be going on now. Stable order; the same state gives the same list.
std::vector<EffectKey> due(const State& state);

/// What the guest that asked in `conversation` should be told now; nothing: it has to wait.
struct GuestReply {
    enum class Kind : std::uint8_t { kDispatch, kFinal, kFailed };
    Kind kind = Kind::kFinal;
    int conversation = 0;
    int turn = 0;
    int index = 0;  ///< with kDispatch: the tool call
    std::string dispatch_id;
    BodyRef answer;
    int tool_calls_executed = 0;
};
std::optional<GuestReply> guestReply(const State& state, int conversation);

}  // namespace aegis::execution
