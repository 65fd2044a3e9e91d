#include "service/local/records.h"

#include <array>

namespace aegis::service {

using namespace execution;

namespace {

json::Value timeOrNull(UtcTime time) {
    return time.ms > 0 ? json::Value(time.rfc3339()) : json::Value(nullptr);
}

json::Object stringMap(const std::map<std::string, std::string>& map) {
    json::Object out;
    for (const auto& [key, value] : map) out[key] = value;
    return out;
}

json::Value failureOrNull(const Failure& failure) {
    if (failure.code.empty()) return nullptr;
    return json::Object{{"code", failure.code}, {"message", failure.message}};
}

json::Object usageRecord(const Usage& usage) {
    return {{"calls", usage.calls},
            {"prompt_tokens", usage.prompt_tokens},
            {"completion_tokens", usage.completion_tokens},
            {"cost_usd", usage.cost_usd}};
}

json::Value intOrNull(const std::optional<int>& number) {
    return number ? json::Value(*number) : json::Value(nullptr);
}

json::Value durationOrNull(UtcTime from, UtcTime to) {
    if (from.ms == 0 || to.ms == 0) return nullptr;
    return to.ms - from.ms;
}

json::Value validationRecord(const std::optional<ValidationCompleted>& validation) {
    if (!validation) return nullptr;
    json::Array results;
    for (const auto& r : validation->results) {
        results.push_back(json::Object{{"validator", r.validator},
                                       {"passed", r.passed},
                                       {"score", r.score},
                                       {"confidence", r.confidence},
                                       {"detail", r.detail}});
    }
    return json::Object{{"score", validation->score}, {"results", std::move(results)}};
}

json::Array toolRecords(const std::vector<ToolView>& tools) {
    json::Array out;
    for (const auto& t : tools) {
        json::Object record{{"tool", t.tool},
                            {"summary", t.summary},
                            {"status", t.status},
                            {"duration_ms", t.duration_ms}};
        if (t.exit_code) record["exit_code"] = *t.exit_code;
        if (!t.reason.empty()) record["reason"] = t.reason;
        out.push_back(std::move(record));
    }
    return out;
}

json::Value textOf(const BodyRef& ref, const BodyText& body, Error& error) {
    if (ref.empty()) return "";
    auto text = body(ref);
    if (!text) {
        error = text.error();
        return nullptr;
    }
    return json::Value(json::isUtf8(*text) ? *text : json::toUtf8(*text));
}

json::Object iterationRecord(const IterationView& it, const BodyText& body, Error& error) {
    json::Object record;
    record["number"] = it.number;
    record["status"] = it.status;
    record["started_at"] = timeOrNull(it.started_at);
    record["ended_at"] = timeOrNull(it.ended_at);
    record["duration_ms"] = durationOrNull(it.started_at, it.ended_at);
    record["exit_code"] = intOrNull(it.exit_code);
    record["output"] = textOf(it.output, body, error);
    record["error"] = failureOrNull(it.error);
    record["validation"] = validationRecord(it.validation);
    record["tool_calls"] = toolRecords(it.tool_calls);
    record["llm"] = usageRecord(it.usage);
    return record;
}

json::Object runtimeRecord(const json::Value& manifest) {
    json::Object out;
    const auto* spec = json::find(manifest, "spec");
    const auto* runtime = spec == nullptr ? nullptr : json::find(*spec, "runtime");
    for (auto key : {"isolation", "language", "version", "image", "model"}) {
        const auto* value = runtime == nullptr ? nullptr : json::find(*runtime, key);
        out[key] = value == nullptr ? json::Value(nullptr) : *value;
    }
    return out;
}

}  // namespace

std::string_view agentStatusName(ports::AgentStatus status) {
    switch (status) {
        case ports::AgentStatus::kDeployed: return "deployed";
        case ports::AgentStatus::kPaused: return "paused";
        case ports::AgentStatus::kArchived: return "archived";
    }
    return "deployed";
}

std::optional<ports::AgentStatus> agentStatusFromName(std::string_view name) {
    using enum ports::AgentStatus;
    for (auto status : {kDeployed, kPaused, kArchived}) {
        if (agentStatusName(status) == name) return status;
    }
    return std::nullopt;
}

std::optional<execution::Status> statusFromName(std::string_view name) {
    using enum execution::Status;
    for (auto status : {kPending, kRunning, kCompleted, kFailed, kCancelled}) {
        if (statusName(status) == name) return status;
    }
    return std::nullopt;
}

json::Object agentRecord(const ports::AgentRecord& record, bool with_manifest) {
    json::Object out;
    out["id"] = record.id.str();
    out["agent_id"] = record.id.str();
    out["name"] = record.name;
    out["version"] = record.version;
    out["description"] = record.description;
    out["status"] = agentStatusName(record.status);
    out["revision"] = record.revision;
    out["labels"] = stringMap(record.labels);
    out["annotations"] = stringMap(record.annotations);
    auto manifest = json::parse(record.manifest_json);
    out["runtime"] = manifest ? runtimeRecord(*manifest) : json::Object{};
    out["created_at"] = timeOrNull(record.created_at);
    out["updated_at"] = timeOrNull(record.updated_at);
    out["deployed_at"] = timeOrNull(record.deployed_at);
    if (with_manifest) {
        out["manifest_yaml"] = record.manifest_yaml;
        out["manifest"] = manifest ? std::move(*manifest) : json::Value(nullptr);
    }
    return out;
}

json::Object executionRow(const ports::ExecutionRow& row) {
    json::Object out;
    out.reserve(16);
    out["id"] = row.id.str();
    out["execution_id"] = row.id.str();
    out["agent_id"] = row.agent_id.str();
    out["agent_name"] = row.agent_name;
    out["agent_revision"] = row.agent_revision;
    out["status"] = statusName(row.status);
    out["error"] = failureOrNull(row.failure);
    out["labels"] = stringMap(row.labels);
    out["max_iterations"] = row.max_iterations;
    out["total_iterations"] = row.total_iterations;
    out["created_at"] = timeOrNull(row.created_at);
    out["started_at"] = timeOrNull(row.started_at);
    out["ended_at"] = timeOrNull(row.ended_at);
    out["duration_ms"] = durationOrNull(row.started_at, row.ended_at);
    out["usage"] = usageRecord(row.usage);
    return out;
}

Result<json::Object> executionRecord(const ports::ExecutionRow& row, const RecordView& view,
                                     const BodyText& body) {
    Error error;
    auto head = executionRow(row);
    json::Object out;
    for (auto key : {"id", "execution_id", "agent_id", "agent_name", "agent_revision", "status"})
        out[key] = head[key];
    out["input"] = textOf(view.created.input, body, error);
    out["output"] = view.output.empty() ? json::Value(nullptr) : textOf(view.output, body, error);
    for (const auto& member : head) out[member.key()] = member.value();
    json::Array volumes;
    for (const auto& v : view.volumes)
        volumes.push_back(json::Object{
            {"id", v.id.str()}, {"name", v.name}, {"mount_point", v.mount_point}});
    out["volumes"] = std::move(volumes);
    out["model"] = view.created.model_alias;
    json::Array iterations;
    for (const auto& it : view.iterations)
        iterations.push_back(iterationRecord(it, body, error));
    out["iterations"] = std::move(iterations);
    if (!error.message.empty()) return error;
    return out;
}

Result<json::Array> executionLogs(const RecordView& view, int iteration, const BodyText& body) {
    Error error;
    json::Array out;
    for (const auto& it : view.iterations) {
        if (iteration != 0 && it.number != iteration) continue;
        out.push_back(json::Object{{"iteration", it.number},
                                   {"status", it.status},
                                   {"output", textOf(it.output, body, error)},
                                   {"tool_calls", toolRecords(it.tool_calls)},
                                   {"stdout", textOf(it.standard_output, body, error)},
                                   {"stderr", textOf(it.standard_error, body, error)},
                                   {"error", failureOrNull(it.error)}});
    }
    if (!error.message.empty()) return error;
    return out;
}

json::Object volumeRecord(const ports::VolumeRecord& record) {
    json::Object out;
    out["id"] = record.id.str();
    out["name"] = record.name;
    out["agent_id"] = record.agent_id.str();
    out["storage_class"] = record.storage_class;
    out["size_limit_bytes"] = record.size_limit_bytes;
    out["used_bytes"] = record.used_bytes;
    auto execution = record.execution_id.empty() ? json::Value(nullptr)
                                                 : json::Value(record.execution_id.str());
    out["execution_id"] = execution;
    out["mounted_by"] = record.mounted ? execution : json::Value(nullptr);
    out["expires_at"] = timeOrNull(record.expires_at);
    out["created_at"] = timeOrNull(record.created_at);
    return out;
}

}  // namespace aegis::service
