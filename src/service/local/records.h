#pragma once

#include "execution/record.h"
#include "ports/journal.h"
#include "ports/registry.h"
#include "ports/volumes.h"
#include "runner/body_cache.h"

namespace aegis::service {

// The records of the API's manual, as JSON.

json::Object agentRecord(const ports::AgentRecord& record, bool with_manifest);
/// What lists show: everything but texts and iterations.
json::Object executionRow(const ports::ExecutionRow& row);
/// The full record; `body` gives the text of a reference.
using BodyText = std::function<Result<std::string>(const execution::BodyRef&)>;
Result<json::Object> executionRecord(const ports::ExecutionRow& row,
                                     const execution::RecordView& view, const BodyText& body);
/// [{"iteration","output","tool_calls","stdout","stderr"}]; `iteration` 0: all.
Result<json::Array> executionLogs(const execution::RecordView& view, int iteration,
                                  const BodyText& body);
json::Object volumeRecord(const ports::VolumeRecord& record);

std::string_view agentStatusName(ports::AgentStatus status);
std::optional<ports::AgentStatus> agentStatusFromName(std::string_view name);
std::optional<execution::Status> statusFromName(std::string_view name);

}  // namespace aegis::service
