#pragma once

#include "execution/state.h"

namespace aegis::execution {

/// One tool call as records show it.
struct ToolView {
    int call = 0;
    std::string tool, summary;
    std::string status = "running";  ///< "running", "ok", "error", "denied", "lost"
    std::string reason;
    std::optional<int> exit_code;
    std::int64_t duration_ms = 0;
};

/// One iteration as records show it.
struct IterationView {
    int number = 0;
    std::string status = "running";  ///< "running", "success", "refining", "failed", "cancelled"
    UtcTime started_at, ended_at;    ///< ended_at.ms 0: not yet
    std::optional<int> exit_code;
    BodyRef output, standard_output, standard_error;
    Failure error;
    std::optional<ValidationCompleted> validation;
    std::vector<ToolView> tool_calls;
    Usage usage;
};

struct VolumeView {
    VolumeId id;
    std::string name, mount_point;
};

/// An execution's record, folded from its events. References stand for texts.
struct RecordView {
    Status status = Status::kNone;
    ExecutionCreated created;
    UtcTime created_at, started_at, ended_at;
    std::int64_t duration_ms = 0;  ///< once it has ended
    Failure error;
    BodyRef output;
    Usage usage;
    std::vector<VolumeView> volumes;
    std::vector<IterationView> iterations;
    std::uint64_t last_seq = 0;
};

/// Folds one more event into the view. Total, like apply().
void addToRecord(RecordView& view, const Event& event);

}  // namespace aegis::execution
