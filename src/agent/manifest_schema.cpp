#include "agent/manifest_schema.h"

#include <string>

#include "base/assert.h"

namespace aegis::agent {
namespace {

// Where the parser takes a plain scalar's source text, the editor sees a number or a boolean.
constexpr std::string_view kDefinitions = R"JSON({
  "text": {"type": ["string", "number", "boolean"]},
  "textMap": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/definitions/text"}},
  "textList": {"type": "array", "items": {"$ref": "#/definitions/text"}},
  "path": {"type": "string", "pattern": "^/"},
  "duration": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$",
    "examples": ["500ms", "30s", "5m", "1h"]},
  "size": {"type": ["integer", "string"], "minimum": 0,
    "pattern": "^[0-9]+(\\.[0-9]+)?([KMGT]i?)?$", "examples": ["512Mi", "2Gi"]},
  "score": {"type": "number", "minimum": 0, "maximum": 1},
  "schema": {"type": ["object", "boolean"], "description": "A JSON Schema; no $ref leaves it."},
  "network": {"type": "object", "additionalProperties": false, "properties": {
    "mode": {"enum": ["none", "allow", "deny"], "default": "none",
      "description": "none: no network; allow: only allowlist; deny: everything but denylist."},
    "allowlist": {"$ref": "#/definitions/textList",
      "description": "host, *.domain, host:port or CIDR; without a port every port."},
    "denylist": {"$ref": "#/definitions/textList",
      "description": "The same; a match always wins."}}},
  "paths": {"type": "array", "items": {"$ref": "#/definitions/path"}},
  "volume": {"type": "object", "additionalProperties": false, "required": ["name"],
    "anyOf": [{"required": ["mount_point"]}, {"required": ["mount_path"]}],
    "properties": {
    "name": {"$ref": "#/definitions/text", "description": "Unique in the manifest."},
    "storage_class": {"enum": ["ephemeral", "persistent"], "default": "ephemeral",
      "description": "ephemeral: of one execution; persistent: of the agent."},
    "mount_point": {"$ref": "#/definitions/path", "description": "Where it is in the container."},
    "mount_path": {"$ref": "#/definitions/path", "description": "The same as mount_point."},
    "access_mode": {"enum": ["read-write", "read-only", "ReadWrite", "ReadOnly"],
      "default": "read-write", "description": "Read-write is exclusive: others wait."},
    "size_limit_mb": {"type": "integer", "minimum": 1, "maximum": 67108864,
      "description": "A hard limit, in MiB."},
    "size_limit": {"$ref": "#/definitions/size", "description": "The same as a size: 2Gi."},
    "size_limit_bytes": {"$ref": "#/definitions/size",
      "description": "An older spelling of size_limit."},
    "ttl_hours": {"type": "number", "minimum": 0, "maximum": 87840,
      "description": "Hours from the execution's end until it is deleted; 0: at the end."},
    "ttl": {"type": "string", "description": "An older spelling of ttl_hours."},
    "source": {"type": "object", "additionalProperties": false, "required": ["volume_id"],
      "description": "An existing volume; it keeps its size, class and time to live.",
      "properties": {"volume_id": {"type": "string", "format": "uuid",
        "description": "Its id."}}},
    "volume_id": {"type": "string", "description": "An older spelling of source.volume_id."}}}
})JSON";

constexpr std::string_view kRuntime = R"JSON({
  "type": ["object", "null"], "description": "What it runs in.",
  "properties": {
    "language": {"$ref": "#/definitions/text",
      "description": "Of the managed base image, with version.", "examples": ["python"]},
    "version": {"$ref": "#/definitions/text", "examples": ["3.11"],
      "description": "Of the language; quote it."},
    "image": {"type": ["string", "null"], "minLength": 1,
      "description": "A container image of your own, instead of language and version."},
    "image_pull_policy": {"enum": ["Always", "IfNotPresent", "Never", null],
      "default": "IfNotPresent", "description": "When the image is pulled."},
    "isolation": {"enum": ["inherit", "docker", "process", "firecracker", null],
      "default": "inherit", "description": "inherit: what the node's configuration says."},
    "model": {"$ref": "#/definitions/textOrNull", "default": "default",
      "description": "A model alias of the node."},
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2,
      "description": "Not sent to the model by default."},
    "max_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 100000000,
      "description": "Of one answer; not sent to the model by default."}}
})JSON";

constexpr std::string_view kTask = R"JSON({
  "type": ["object", "null"], "description": "What it shall do.",
  "properties": {
    "instruction": {"$ref": "#/definitions/textOrNull", "description": "The task, in words."},
    "prompt_template": {"$ref": "#/definitions/textOrNull",
      "description": "Handlebars or Jinja: {{instruction}}, {{input}}, {{previous_error}}, ..."},
    "input_data": {"type": ["object", "null"], "description": "Defaults of {{input.field}}."}}
})JSON";

constexpr std::string_view kExecution = R"JSON({
  "type": ["object", "null"], "description": "How often it tries and when it has succeeded.",
  "properties": {
    "mode": {"enum": ["one-shot", "iterative", null], "default": "iterative",
      "description": "one-shot: exactly one iteration."},
    "max_iterations": {"type": ["integer", "null"], "minimum": 1, "maximum": 100, "default": 10,
      "description": "After so many, the execution fails."},
    "max_retries": {"type": ["integer", "null"], "minimum": 0, "maximum": 99,
      "description": "An older spelling: max_iterations less one."},
    "iteration_timeout": {"$ref": "#/definitions/durationOrNull", "default": "300s",
      "description": "Of one iteration, at most 24h."},
    "max_tool_calls": {"type": ["integer", "null"], "minimum": 0, "maximum": 1000000,
      "default": 500,
      "description": "Of one iteration."},
    "max_model_calls": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000000,
      "default": 200,
      "description": "Of one iteration."},
    "validation": {"$ref": "#/definitions/validation"},
    "tool_validation": {"type": ["array", "null"],
      "description": "Semantic judges asked before each tool call.",
      "items": {"allOf": [{"$ref": "#/definitions/judge"}], "type": "object",
        "required": ["type"],
        "properties": {"type": {"const": "semantic", "description": "What checks."}}}},
    "budget": {"type": ["object", "null"],
      "description": "Exceeding one fails the execution before the call is made.",
      "properties": {
        "usd": {"type": "number", "minimum": 0, "description": "Cost of the model's answers."},
        "tokens": {"type": "integer", "minimum": 0, "description": "In and out, together."},
        "llm_calls": {"type": "integer", "minimum": 0, "description": "Requests to models."},
        "tool_calls": {"type": "integer", "minimum": 0, "description": "Calls of tools."}}}}
})JSON";

constexpr std::string_view kValidation = R"JSON({
  "description": "Validators, in order; the first failure ends the chain.",
  "default": [{"type": "exit_code"}],
  "anyOf": [
    {"type": "array", "items": {"$ref": "#/definitions/validator"}},
    {"type": "null"},
    {"type": "object", "properties": {
      "system": {"type": ["object", "null"], "description": "An exit_code validator.",
        "properties": {
          "expected": {"$ref": "#/definitions/validatorFields/properties/expected"},
          "allow_stderr": {"$ref": "#/definitions/validatorFields/properties/allow_stderr"},
          "min_score": {"$ref": "#/definitions/score", "description": "To pass."},
          "min_confidence": {"$ref": "#/definitions/score", "description": "To pass."}}},
      "output": {"type": "object", "required": ["format"],
        "description": "The output as JSON, or a regular expression over it.",
        "properties": {
          "format": {"enum": ["json", "regex"], "description": "What the output is."},
          "schema": {"$ref": "#/definitions/schema"},
          "schema_path": {"$ref": "#/definitions/path",
            "description": "A schema in the container."},
          "pattern": {"type": "string", "description": "RE2 syntax."},
          "min_score": {"$ref": "#/definitions/score", "description": "To pass."},
          "min_confidence": {"$ref": "#/definitions/score", "description": "To pass."}}},
      "semantic": {"$ref": "#/definitions/judge", "description": "A semantic validator."}}}]
})JSON";

constexpr std::string_view kJudge = R"JSON({
  "type": ["object", "null"], "required": ["criteria"],
  "oneOf": [{"required": ["judge_agent"]}, {"required": ["model"]}],
  "properties": {
    "judge_agent": {"$ref": "#/definitions/validatorFields/properties/judge_agent"},
    "model": {"$ref": "#/definitions/validatorFields/properties/model"},
    "criteria": {"$ref": "#/definitions/validatorFields/properties/criteria"},
    "timeout": {"$ref": "#/definitions/validatorFields/properties/timeout"},
    "on_unavailable": {"$ref": "#/definitions/validatorFields/properties/on_unavailable"},
    "min_score": {"$ref": "#/definitions/score", "description": "To pass."},
    "min_confidence": {"$ref": "#/definitions/score", "description": "To pass."}}
})JSON";

constexpr std::string_view kValidatorFields = R"JSON({
  "type": ["object", "null"],
  "properties": {
    "expected": {"type": "integer", "minimum": 0, "maximum": 255, "default": 0,
      "description": "exit_code: of the bootstrap."},
    "allow_stderr": {"type": "boolean", "default": true,
      "description": "exit_code: output on stderr is no failure."},
    "schema": {"$ref": "#/definitions/schema"},
    "schema_path": {"$ref": "#/definitions/path",
      "description": "json_schema: a schema in the container."},
    "target_path": {"$ref": "#/definitions/path",
      "description": "json_schema: a file in the container, instead of the output."},
    "pattern": {"$ref": "#/definitions/text", "description": "regex: RE2 syntax."},
    "target": {"type": "string", "pattern": "^(output|stdout|stderr|/.*)$", "default": "output",
      "description": "regex: output, stdout, stderr or an absolute path."},
    "command": {"$ref": "#/definitions/textList",
      "description": "command: the program and its arguments."},
    "timeout": {"$ref": "#/definitions/duration", "description": "command, judges: at most 24h."},
    "judge_agent": {"$ref": "#/definitions/text", "description": "semantic: an agent, or model."},
    "model": {"$ref": "#/definitions/text", "description": "semantic: an alias, or judge_agent."},
    "criteria": {"$ref": "#/definitions/text", "description": "Judges: what is good."},
    "on_unavailable": {"enum": ["fail", "skip"], "default": "fail",
      "description": "Judges: when none can be asked."},
    "judges": {"$ref": "#/definitions/textList", "description": "multi_judge: agents."},
    "consensus": {"enum": ["mean", "min", "max", "majority"],
      "description": "multi_judge: how scores are joined."},
    "min_judges_required": {"type": "integer", "minimum": 1,
      "description": "multi_judge: answers that are needed."},
    "min_score": {"$ref": "#/definitions/score", "description": "To pass."},
    "min_confidence": {"$ref": "#/definitions/score", "description": "To pass."}}
})JSON";

constexpr std::string_view kValidator = R"JSON({
  "allOf": [{"$ref": "#/definitions/validatorFields"}],
  "type": "object", "required": ["type"],
  "properties": {"type": {
    "enum": ["exit_code", "json_schema", "regex", "command", "semantic", "multi_judge"],
    "description": "What checks."}},
  "oneOf": [
    {"properties": {"type": {"const": "exit_code"}}},
    {"properties": {"type": {"const": "json_schema"}},
      "oneOf": [{"required": ["schema"]}, {"required": ["schema_path"]}]},
    {"properties": {"type": {"const": "regex"}}, "required": ["pattern"]},
    {"properties": {"type": {"const": "command"}, "command": {"minItems": 1}},
      "required": ["command"]},
    {"properties": {"type": {"const": "semantic"}}, "required": ["criteria"],
      "oneOf": [{"required": ["judge_agent"]}, {"required": ["model"]}]},
    {"properties": {"type": {"const": "multi_judge"}, "judges": {"minItems": 1}},
      "required": ["criteria", "judges"]}]
})JSON";

constexpr std::string_view kSecurity = R"JSON({
  "type": "object", "additionalProperties": false, "description": "Deny by default.",
  "properties": {
    "network": {"$ref": "#/definitions/network", "description": "What it may reach."},
    "network_policy": {"$ref": "#/definitions/network",
      "description": "An older spelling of network; its mode deny means none."},
    "filesystem": {"type": "object", "additionalProperties": false,
      "description": "Absolute paths, which may end in /**.",
      "properties": {
        "read": {"$ref": "#/definitions/paths", "description": "Without it: every volume."},
        "write": {"$ref": "#/definitions/paths",
          "description": "Readable too. Without it: as each volume's access_mode says."},
        "read_only": {"type": "boolean", "default": false,
          "description": "Every mount is read-only."}}},
    "filesystem_policy": {"$ref": "#/definitions/olderFilesystem"},
    "resources": {"$ref": "#/definitions/resources"}}
})JSON";

constexpr std::string_view kResources = R"JSON({
  "type": "object", "additionalProperties": false, "description": "Hard limits.",
  "properties": {
    "cpu": {"type": ["integer", "string"], "minimum": 10, "default": 1000,
      "pattern": "^([0-9]+m|[0-9]*\\.?[0-9]+)$",
      "description": "Millicores: 500 or 500m, or a quoted number of cores: \"0.5\"."},
    "memory": {"$ref": "#/definitions/size", "default": "512Mi", "description": "At least 6Mi."},
    "disk": {"$ref": "#/definitions/size", "default": "256Mi",
      "description": "Of /tmp; it counts in memory."},
    "pids": {"type": "integer", "minimum": 8, "maximum": 4194304, "default": 256,
      "description": "Processes and threads."},
    "timeout": {"$ref": "#/definitions/duration", "default": "300s",
      "description": "The whole execution, at most 24h."}}
})JSON";

constexpr std::string_view kOlder = R"JSON({
  "filesystem": {"type": "object", "additionalProperties": false,
    "description": "An older spelling of filesystem.",
    "properties": {
      "read_paths": {"$ref": "#/definitions/paths", "description": "Today: read."},
      "write_paths": {"$ref": "#/definitions/paths", "description": "Today: write."},
      "read_only": {"type": "boolean", "description": "Every mount is read-only."}}},
  "resources": {
    "cpu_quota": {"type": "integer", "minimum": 1000,
      "description": "An older spelling of cpu: microseconds of every 100 ms."},
    "memory_bytes": {"$ref": "#/definitions/size", "description": "An older spelling of memory."},
    "timeout_secs": {"type": "integer", "minimum": 1, "maximum": 86400,
      "description": "An older spelling of timeout."}}
})JSON";

constexpr std::string_view kSpec = R"JSON({
  "type": "object", "description": "What the agent is.",
  "anyOf": [{"required": ["runtime"]}, {"required": ["image"]}],
  "properties": {
    "runtime": {"$ref": "#/definitions/runtime"},
    "task": {"$ref": "#/definitions/task"},
    "input_schema": {"anyOf": [{"$ref": "#/definitions/schema"}, {"type": "null"}],
      "description": "A JSON Schema: an input that does not match is refused."},
    "execution": {"$ref": "#/definitions/execution"},
    "security": {"anyOf": [{"$ref": "#/definitions/security"}, {"type": "null"}]},
    "volumes": {"type": ["array", "null"], "items": {"$ref": "#/definitions/volume"},
      "description": "The only places, with /tmp, that can be written."},
    "tools": {"type": ["array", "null"],
      "description": "Absent: all built-in tools. Present: only these.",
      "items": {"anyOf": [
        {"$ref": "#/definitions/text"},
        {"type": "object", "required": ["name"], "properties": {
          "name": {"$ref": "#/definitions/text", "description": "fs.read, cmd.run, server.tool."},
          "subcommand_allowlist": {"type": ["object", "null"],
            "additionalProperties": {"$ref": "#/definitions/textList"},
            "description": "cmd.run: programs and the first arguments that each may have."},
          "server": {"$ref": "#/definitions/textOrNull",
            "description": "An older spelling: today name is server.tool."},
          "config": {"type": ["object", "null"], "maxProperties": 0,
            "description": "An older field; it must be empty."}}}]}},
    "env": {"$ref": "#/definitions/textMap",
      "description": "Literals, env:NAME (of the daemon's environment) or secret:NAME."},
    "context": {"type": ["array", "null"], "description": "Concatenated into {{context}}.",
      "items": {"type": "object", "required": ["type"], "properties": {
        "type": {"enum": ["text", "file", "url"], "description": "Where the text comes from."},
        "text": {"$ref": "#/definitions/textOrNull", "description": "text: itself."},
        "content": {"$ref": "#/definitions/textOrNull", "description": "The same as text."},
        "path": {"$ref": "#/definitions/textOrNull", "description": "file: its path."},
        "url": {"$ref": "#/definitions/textOrNull", "description": "url: the address."},
        "description": {"$ref": "#/definitions/textOrNull", "description": "For the reader."}}}},
    "schedule": {"type": ["object", "null"], "required": ["cron"],
      "description": "Starts executions.", "properties": {
        "cron": {"type": "string", "description": "Five fields, or @daily and the like."},
        "timezone": {"$ref": "#/definitions/textOrNull", "description": "Such as Europe/Berlin."},
        "enabled": {"type": ["boolean", "null"], "default": true,
          "description": "false: it waits."}}},
    "advanced": {"type": ["object", "null"], "description": "Rarely needed.", "properties": {
      "warm_pool_size": {"type": ["integer", "null"], "minimum": 0, "maximum": 64,
        "description": "Sandboxes of its kind kept ready; the node limits it."},
      "bootstrap_path": {"type": ["string", "null"],
        "description": "The image's own bootstrap, an absolute path."},
      "startup_script": {"$ref": "#/definitions/textOrNull",
        "description": "For /bin/sh, in each sandbox before the bootstrap."}}},
    "image": {"type": ["string", "null"], "description": "An older spelling of runtime.image."},
    "description": {"$ref": "#/definitions/textOrNull",
      "description": "An older place of metadata.description."},
    "max_iterations": {"type": ["integer", "null"], "minimum": 1, "maximum": 100,
      "description": "An older place of execution.max_iterations."},
    "validation": {"$ref": "#/definitions/validation",
      "description": "An older place of execution.validation."},
    "network_policy": {"anyOf": [{"$ref": "#/definitions/network"}, {"type": "null"}],
      "description": "An older spelling of security.network; its mode deny means none."},
    "filesystem_policy": {"anyOf": [{"$ref": "#/definitions/olderFilesystem"}, {"type": "null"}],
      "description": "An older spelling of security.filesystem."},
    "resources": {"anyOf": [{"$ref": "#/definitions/olderResources"}, {"type": "null"}],
      "description": "An older place of security.resources."},
    "environment": {"$ref": "#/definitions/textMap", "description": "An older spelling of env."},
    "capabilities": {"description": "Without effect."},
    "security_context": {"description": "Without effect."}}
})JSON";

constexpr std::string_view kRoot = R"JSON({
  "$schema": "http://json-schema.org/draft-07/schema#",
  "title": "AEGIS agent manifest",
  "description": "Unknown fields: errors in security, resources and volumes, warnings elsewhere.",
  "type": "object",
  "required": ["apiVersion", "kind", "metadata", "spec"],
  "properties": {
    "apiVersion": {"const": "100monkeys.ai/v1", "description": "The format's version."},
    "kind": {"const": "Agent", "description": "What the document describes."},
    "metadata": {"type": "object", "required": ["name", "version"],
      "description": "Who the agent is.", "properties": {
        "name": {"type": ["string", "integer"], "pattern": "^[a-z0-9][a-z0-9-]{0,62}$",
          "description": "The same name updates the agent in place."},
        "version": {"type": "string",
          "pattern": "^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)([-+].*)?$",
          "description": "A semantic version."},
        "description": {"$ref": "#/definitions/textOrNull", "description": "For the reader."},
        "labels": {"$ref": "#/definitions/textMap",
          "description": "To select agents by: agent list --label k=v."},
        "annotations": {"$ref": "#/definitions/textMap", "description": "For other programs."}}}}
})JSON";

json::Value parsed(std::string_view text) {
    auto value = json::parse(text);
    AEGIS_ASSERT(value.has_value());
    return std::move(*value);
}

/// {"anyOf": [<reference>, null]}: outside the strict places a null counts as missing.
json::Value orNull(std::string_view name) {
    json::Array forms{json::Object{{"$ref", "#/definitions/" + std::string(name)}},
                      json::Object{{"type", "null"}}};
    return json::Object{{"anyOf", std::move(forms)}};
}

json::Value build() {
    auto definitions = parsed(kDefinitions).as_object();
    definitions["textOrNull"] = orNull("text");
    definitions["durationOrNull"] = orNull("duration");
    definitions["runtime"] = parsed(kRuntime);
    definitions["task"] = parsed(kTask);
    definitions["execution"] = parsed(kExecution);
    definitions["validation"] = parsed(kValidation);
    definitions["validatorFields"] = parsed(kValidatorFields);
    definitions["validator"] = parsed(kValidator);
    definitions["judge"] = parsed(kJudge);
    definitions["security"] = parsed(kSecurity);
    definitions["resources"] = parsed(kResources);
    auto older = parsed(kOlder).as_object();
    definitions["olderFilesystem"] = older["filesystem"];
    auto resources = parsed(kResources).as_object();
    for (auto& [key, value] : older["resources"].as_object())
        resources["properties"].as_object()[key] = value;
    definitions["olderResources"] = std::move(resources);
    definitions["spec"] = parsed(kSpec);
    auto root = parsed(kRoot).as_object();
    root["properties"].as_object()["spec"] = json::Object{{"$ref", "#/definitions/spec"}};
    root["definitions"] = std::move(definitions);
    return root;
}

}  // namespace

const json::Value& manifestSchema() {
    static const json::Value kSchema = build();
    return kSchema;
}

}  // namespace aegis::agent
