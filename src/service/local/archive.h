#pragma once

#include <string_view>

#include "runner/replay.h"
#include "service/local/records.h"

namespace aegis::service {

// The archive of `execution export`: a folder named after the execution with export.json (what this
// is), record.json, manifest.yaml, manifest.json (resolved), logs.json, events.ndjson (as the API
// shows events) and bodies/<sha256>. The same execution gives the same bytes.
inline constexpr std::string_view kArchiveFormat = "aegis-execution";
inline constexpr int kArchiveVersion = 1;

/// The record of the API, from the events alone.
Result<json::Object> recordOf(const ExecutionId& id, const execution::RecordView& view,
                              const BodyText& body);

/// {"execution_id","status":"reproduced|diverged","events","iterations","prompts","bodies",
/// "verdicts","divergence":null|{"seq","iteration","what","recorded","replayed"}}.
json::Object replayRecord(const ExecutionId& id, const runner::ReplayReport& report);

/// Replays an exported archive, and checks that its record is what its events say. kInvalid or
/// kTooLarge for a text that is no such archive; kConflict if the execution had not ended. Any
/// thread; needs no daemon.
Result<json::Value> replayArchive(std::string_view archive);

}  // namespace aegis::service
