#pragma once

#include "execution/state.h"

namespace aegis::execution {

// Everything that can happen to an execution, as a value. Results of effects carry what is needed
// to tell a stale one (ordinal, call) from the one that is awaited.

struct Create {
    ExecutionCreated data;
};
/// It may run, since `at` (0: now).
struct Admitted {
    UtcTime at;
};
struct VolumesReady {
    std::vector<VolumeAttached> volumes;
};
/// A sandbox or its volumes cannot be had; `fatal` ends the execution, else the iteration broke.
struct SandboxFailed {
    int sandbox = 0;
    Failure failure;
    bool fatal = true;
};
struct SandboxUp {
    int sandbox = 0;
    SandboxStarted data;
};
/// The bootstrap ended. `failure` is set when it did not end by itself (out of memory, container
/// died).
struct BootstrapEnded {
    int sandbox = 0;
    std::optional<int> exit_code;
    Failure failure;
    BodyRef output;  ///< the last final message's content, else stdout less one newline
    BodyRef standard_output;
    BodyRef standard_error;
    BodyRef error;  ///< with a failure or a non-zero exit: what the next iteration is told
};
struct GuestGenerate {
    int sandbox = 0;
    std::string request_id;
    BodyRef prompt;
    std::string model_alias;
    std::string format = {};  ///< of LlmCallStarted
};
struct GuestDispatchResult {
    int sandbox = 0;
    std::string dispatch_id;
    ToolCallCompleted data;  ///< call and tool are filled in by the core
};
struct ModelDelta {
    int call = 0;
    std::string text;
};
struct ModelAnswered {
    LlmCallCompleted data;
};
struct ModelFailed {
    LlmCallFailed data;
};
/// A tool call was looked at. Not refused: it starts, here or (dispatch_id set) in the container.
struct ToolAdmitted {
    int conversation = 0;
    int turn = 0;
    int index = 0;
    std::string tool;
    std::string summary;
    std::string dispatch_id;
    bool barrier = false;
    bool refused = false;
    std::string reason;
    BodyRef result;
};
struct ToolFinished {
    ToolCallCompleted data;
};
struct Validated {
    int iteration = 0;
    int sandbox = 0;
    ValidationCompleted data;
};
/// The sandbox has no process left and, with `last`, the volumes are detached.
struct SandboxClosed {
    int sandbox = 0;
    bool last = false;
    Failure failure;  ///< its death could not be proven
};
struct TimerFired {
    EffectKey timer;
};
struct Cancel {
    std::string reason;
};
/// The daemon has started and no performer of this execution is left.
struct Recovered {};
/// A connection of the guest was refused, or is over.
struct EgressNoted {
    int sandbox = 0;
    EgressDecided data;
};
struct QuotaExceeded {
    VolumeQuotaExceeded data;
};

using InputData = std::variant<Create, Admitted, VolumesReady, SandboxFailed, SandboxUp,
                               BootstrapEnded, GuestGenerate, GuestDispatchResult, ModelDelta,
                               ModelAnswered, ModelFailed, ToolAdmitted, ToolFinished, Validated,
                               SandboxClosed, TimerFired, Cancel, Recovered, QuotaExceeded,
                               EgressNoted>;

struct Input {
    UtcTime now;
    InputData data;
};

/// What `input` means in `state`: the events to append, in order, with seq, time and the envelope's
/// ordinals filled in. Empty: it changes nothing (stale, repeated, too late). Pure and total.
std::vector<Event> decide(const State& state, const Input& input);

/// The same, and the events are applied to `state`: without a copy of it.
std::vector<Event> advance(State& state, const Input& input);

}  // namespace aegis::execution
