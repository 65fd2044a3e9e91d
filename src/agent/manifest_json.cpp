#include <fmt/format.h>

#include "agent/parse_context.h"

namespace aegis::agent {
namespace {

constexpr double kHourMs = 3'600'000;

using yaml::durationText;
using yaml::stringArray;

json::Object map(const StringMap& values) {
    json::Object object;
    for (const auto& [key, value] : values)
        object[key] = value;
    return object;
}

json::Value number(double value) { return detail::canonical(value); }

void putText(json::Object& out, std::string_view key, const std::string& value) {
    if (!value.empty()) out[key] = value;
}

json::Object toJson(const RuntimeSpec& runtime) {
    json::Object out;
    putText(out, "language", runtime.language);
    putText(out, "version", runtime.version);
    putText(out, "image", runtime.image);
    out["image_pull_policy"] = name(runtime.image_pull_policy);
    out["isolation"] = name(runtime.isolation);
    out["model"] = runtime.model;
    if (runtime.temperature) out["temperature"] = number(*runtime.temperature);
    if (runtime.max_tokens) out["max_tokens"] = *runtime.max_tokens;
    return out;
}

struct CheckToJson {
    json::Object& out;

    void operator()(const ExitCodeCheck& check) const {
        out["expected"] = check.expected;
        out["allow_stderr"] = check.allow_stderr;
    }
    void operator()(const JsonSchemaCheck& check) const {
        if (check.schema) out["schema"] = *check.schema;
        putText(out, "schema_path", check.schema_path);
        putText(out, "target_path", check.target_path);
    }
    void operator()(const RegexCheck& check) const {
        out["pattern"] = check.pattern;
        out["target"] = check.target;
    }
    void operator()(const CommandCheck& check) const {
        out["command"] = stringArray(check.command);
        out["timeout"] = durationText(check.timeout_ms);
    }
    void operator()(const SemanticCheck& check) const {
        putText(out, "judge_agent", check.judge_agent);
        putText(out, "model", check.model);
        out["criteria"] = check.criteria;
        out["timeout"] = durationText(check.timeout_ms);
        out["on_unavailable"] = name(check.on_unavailable);
    }
    void operator()(const MultiJudgeCheck& check) const {
        out["judges"] = stringArray(check.judges);
        out["consensus"] = name(check.consensus);
        out["min_judges_required"] = check.min_judges_required;
        (*this)(check.common);
    }
};

json::Array toJson(const std::vector<Validator>& validators) {
    json::Array array;
    for (const Validator& validator : validators) {
        json::Object out;
        out["type"] = typeName(validator);
        std::visit(CheckToJson{out}, validator.check);
        out["min_score"] = number(validator.min_score);
        out["min_confidence"] = number(validator.min_confidence);
        array.push_back(std::move(out));
    }
    return array;
}

json::Object toJson(const ExecutionSpec& execution) {
    json::Object out;
    out["mode"] = name(execution.mode);
    out["max_iterations"] = execution.max_iterations;
    out["iteration_timeout"] = durationText(execution.iteration_timeout_ms);
    out["max_tool_calls"] = execution.max_tool_calls;
    out["max_model_calls"] = execution.max_model_calls;
    out["validation"] = toJson(execution.validation);
    if (!execution.tool_validation.empty())
        out["tool_validation"] = toJson(execution.tool_validation);
    if (execution.budget) {
        json::Object budget;
        if (execution.budget->usd) budget["usd"] = number(*execution.budget->usd);
        if (execution.budget->tokens) budget["tokens"] = *execution.budget->tokens;
        if (execution.budget->llm_calls) budget["llm_calls"] = *execution.budget->llm_calls;
        if (execution.budget->tool_calls) budget["tool_calls"] = *execution.budget->tool_calls;
        out["budget"] = std::move(budget);
    }
    return out;
}

json::Object toJson(const SecuritySpec& security) {
    json::Object network;
    network["mode"] = name(security.network.mode);
    network["allowlist"] = stringArray(security.network.allowlist);
    network["denylist"] = stringArray(security.network.denylist);
    json::Object filesystem;
    if (security.filesystem.read) filesystem["read"] = stringArray(*security.filesystem.read);
    if (security.filesystem.write) filesystem["write"] = stringArray(*security.filesystem.write);
    filesystem["read_only"] = security.filesystem.read_only;
    json::Object resources;
    resources["cpu"] = security.resources.cpu_millicores;
    resources["memory"] = security.resources.memory_bytes;
    resources["disk"] = security.resources.disk_bytes;
    resources["pids"] = security.resources.pids;
    resources["timeout"] = durationText(security.resources.timeout_ms);
    json::Object out;
    out["network"] = std::move(network);
    out["filesystem"] = std::move(filesystem);
    out["resources"] = std::move(resources);
    return out;
}

json::Array toJson(const std::vector<Volume>& volumes) {
    json::Array array;
    for (const Volume& volume : volumes) {
        json::Object out;
        out["name"] = volume.name;
        // An existing volume keeps its own.
        if (volume.source_volume_id.empty()) out["storage_class"] = name(volume.storage_class);
        out["mount_point"] = volume.mount_point;
        out["access_mode"] = name(volume.access_mode);
        if (volume.size_limit_bytes != 0) out["size_limit"] = volume.size_limit_bytes;
        if (volume.ttl_ms) out["ttl_hours"] = number(static_cast<double>(*volume.ttl_ms) / kHourMs);
        if (!volume.source_volume_id.empty())
            out["source"] = json::Object{{"volume_id", volume.source_volume_id}};
        array.push_back(std::move(out));
    }
    return array;
}

json::Array toJson(const std::vector<ToolGrant>& tools) {
    json::Array array;
    for (const ToolGrant& tool : tools) {
        json::Object allowed;
        for (const auto& [command, arguments] : tool.subcommand_allowlist)
            allowed[command] = stringArray(arguments);
        if (allowed.empty())
            array.emplace_back(tool.name);
        else
            array.push_back(
                json::Object{{"name", tool.name}, {"subcommand_allowlist", std::move(allowed)}});
    }
    return array;
}

json::Array toJson(const std::vector<ContextItem>& items) {
    constexpr std::string_view kKeys[] = {"content", "path", "url"};
    json::Array array;
    for (const ContextItem& item : items) {
        json::Object out;
        out["type"] = name(item.type);
        out[kKeys[static_cast<std::size_t>(item.type)]] = item.value;
        putText(out, "description", item.description);
        array.push_back(std::move(out));
    }
    return array;
}

json::Object metadataToJson(const Metadata& metadata) {
    json::Object out;
    out["name"] = metadata.name;
    out["version"] = metadata.version;
    out["description"] = metadata.description;
    out["labels"] = map(metadata.labels);
    out["annotations"] = map(metadata.annotations);
    return out;
}

json::Object specToJson(const Manifest& manifest) {
    json::Object task;
    task["instruction"] = manifest.task.instruction;
    task["prompt_template"] = manifest.task.prompt_template;
    task["input_data"] = manifest.task.input_data;
    json::Object out;
    out["runtime"] = toJson(manifest.runtime);
    out["task"] = std::move(task);
    if (manifest.input_schema) out["input_schema"] = *manifest.input_schema;
    out["execution"] = toJson(manifest.execution);
    out["security"] = toJson(manifest.security);
    out["volumes"] = toJson(manifest.volumes);
    if (manifest.tools) out["tools"] = toJson(*manifest.tools);
    out["env"] = map(manifest.env);
    out["context"] = toJson(manifest.context);
    if (manifest.schedule)
        out["schedule"] = json::Object{{"cron", manifest.schedule->cron},
                                       {"timezone", manifest.schedule->timezone},
                                       {"enabled", manifest.schedule->enabled}};
    json::Object advanced;
    if (manifest.advanced.warm_pool_size)
        advanced["warm_pool_size"] = *manifest.advanced.warm_pool_size;
    putText(advanced, "bootstrap_path", manifest.advanced.bootstrap_path);
    putText(advanced, "startup_script", manifest.advanced.startup_script);
    out["advanced"] = std::move(advanced);
    return out;
}

}  // namespace

json::Object manifestToJson(const Manifest& manifest) {
    json::Object out;
    out["apiVersion"] = kApiVersion;
    out["kind"] = "Agent";
    out["metadata"] = metadataToJson(manifest.metadata);
    out["spec"] = specToJson(manifest);
    return out;
}

Result<Manifest> manifestFromJson(const json::Value& value) {
    yaml::Node root = yaml::fromJson(value);
    yaml::Problems problems{""};
    detail::Context context{problems, nullptr, {}};
    Manifest manifest = detail::readManifest(root, context);
    if (problems.ok()) return manifest;
    Error error(ErrorCode::kInvalid, "the stored manifest cannot be read");
    error.details = problems.takeErrors();
    return error;
}

}  // namespace aegis::agent
