#include "config/config_schema.h"

#include "base/assert.h"

namespace aegis::config {
namespace {

// Where a number is expected, a text can only be env:NAME or, for YAML, the number itself.
constexpr std::string_view kDefinitions = R"JSON({
  "text": {"type": ["string", "number", "boolean", "null"]},
  "whole": {"type": ["integer", "string", "null"], "minimum": 0, "pattern": "^env:|^[0-9]+$"},
  "number": {"type": ["number", "string", "null"], "minimum": 0, "pattern": "^env:|^[0-9.]+$"},
  "truth": {"type": ["boolean", "string", "null"], "pattern": "^env:|^(true|false)$"},
  "duration": {"type": ["string", "null"],
    "pattern": "^env:|^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$", "examples": ["500ms", "30s", "10m"]},
  "size": {"type": ["integer", "string", "null"], "minimum": 0,
    "pattern": "^env:|^[0-9]+(\\.[0-9]+)?([KMGT]i?)?$", "examples": ["1Mi", "512Ki"]},
  "textList": {"type": ["array", "null"], "items": {"type": ["string", "number", "boolean"]}},
  "textMap": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/definitions/text"}}
})JSON";

constexpr std::string_view kServer = R"JSON({
  "type": ["object", "null"], "description": "What others connect to.",
  "properties": {
    "addr": {"$ref": "#/definitions/text", "default": "127.0.0.1:9090",
      "description": "host:port of API, event streams and metrics."},
    "unix_socket": {"$ref": "#/definitions/text", "description": "The same API there too."},
    "token": {"$ref": "#/definitions/text",
      "description": "Bearer token; required when addr is not loopback."},
    "tls": {"type": ["object", "null"], "description": "Both files, or neither.", "properties": {
      "cert_file": {"$ref": "#/definitions/text", "description": "PEM, with its chain."},
      "key_file": {"$ref": "#/definitions/text", "description": "PEM."}}}}
})JSON";

constexpr std::string_view kStorage = R"JSON({
  "type": ["object", "null"], "description": "Where the state is.",
  "properties": {
    "data_dir": {"$ref": "#/definitions/text",
      "description": "Default: $AEGIS_DATA_DIR, /var/lib/aegis for root, $XDG_STATE_HOME/aegis."},
    "database_url": {"$ref": "#/definitions/text", "description": "Default: SQLite in data_dir."},
    "volume_dir": {"$ref": "#/definitions/text", "description": "Default: data_dir/volumes."}}
})JSON";

constexpr std::string_view kRuntime = R"JSON({
  "type": ["object", "null"], "description": "What executions run in.",
  "properties": {
    "isolation": {"enum": ["process", "docker", null],
      "description": "What inherit in a manifest means."},
    "docker_host": {"$ref": "#/definitions/text", "default": "unix:///var/run/docker.sock",
      "description": "A container engine's socket; $DOCKER_HOST wins."},
    "image_pull_policy": {"enum": ["Always", "IfNotPresent", "Never", null],
      "default": "IfNotPresent", "description": "Where a manifest does not say."},
    "images": {"type": ["object", "null"],
      "description": "Base images by language and version.",
      "additionalProperties": {"$ref": "#/definitions/textMap"}},
    "max_concurrent_executions": {"$ref": "#/definitions/whole", "default": 64,
      "description": "More wait, first come first served."},
    "warm_pool": {"type": ["object", "null"], "description": "Sandboxes kept ready.",
      "properties": {
        "size": {"$ref": "#/definitions/whole", "default": 2, "description": "How many."},
        "max_size": {"$ref": "#/definitions/whole", "default": 8,
          "description": "The most that a manifest can ask for."},
        "max_idle": {"$ref": "#/definitions/duration", "default": "10m",
          "description": "How long one is kept."}}}}
})JSON";

constexpr std::string_view kLlm = R"JSON({
  "type": ["object", "null"], "description": "Models.",
  "properties": {
    "providers": {"type": ["array", "null"],
      "description": "Default: what the keys in the environment allow.",
      "items": {"type": "object", "required": ["name", "type"], "properties": {
        "name": {"$ref": "#/definitions/text", "description": "What aliases call it."},
        "type": {"enum": ["openai", "anthropic", "ollama", "scripted"],
          "description": "The wire format; scripted answers from a file."},
        "api_key": {"$ref": "#/definitions/text", "description": "Best as env:NAME."},
        "model": {"$ref": "#/definitions/text", "description": "The vendor's name of a model."},
        "base_url": {"$ref": "#/definitions/text", "description": "Default: the vendor's."},
        "api_version": {"$ref": "#/definitions/text", "description": "Where a vendor asks for it."},
        "max_tokens": {"$ref": "#/definitions/whole", "description": "Of one answer."},
        "max_tokens_field": {"enum": ["max_tokens", "max_completion_tokens", null],
          "description": "How an OpenAI endpoint calls it."},
        "context_window": {"$ref": "#/definitions/whole", "description": "Tokens."},
        "temperature": {"$ref": "#/definitions/number", "description": "0 to 2."},
        "timeout": {"$ref": "#/definitions/duration", "description": "Of one call."},
        "max_response_bytes": {"$ref": "#/definitions/size", "description": "Of one answer."},
        "script": {"$ref": "#/definitions/text", "description": "scripted: a list of answers."},
        "price": {"type": ["object", "null"], "description": "For costs and budgets.",
          "properties": {
            "input_per_mtok": {"$ref": "#/definitions/number", "description": "USD."},
            "output_per_mtok": {"$ref": "#/definitions/number", "description": "USD."}}}}}},
    "aliases": {"type": ["object", "null"],
      "description": "What manifests call models: a provider, or several to fall back on.",
      "additionalProperties": {"anyOf": [{"type": "string"}, {"$ref": "#/definitions/textList"}]}}}
})JSON";

constexpr std::string_view kTools = R"JSON({
  "type": ["object", "null"], "description": "What models may call.",
  "properties": {
    "builtin_dispatcher": {"type": ["object", "null"], "description": "cmd.run.", "properties": {
      "enabled": {"$ref": "#/definitions/truth", "default": true, "description": "Or not at all."},
      "output_limit_bytes": {"$ref": "#/definitions/size", "default": 1048576,
        "description": "Of one command; the tail is kept."},
      "timeout_secs": {"$ref": "#/definitions/whole", "default": 60,
        "description": "Of one command, where the model does not say."}}},
    "subcommand_allowlist": {"type": ["object", "null"],
      "additionalProperties": {"$ref": "#/definitions/textList"},
      "description": "Programs and the first arguments that each may have."},
    "mcp_servers": {"type": ["array", "null"], "description": "Servers of more tools.",
      "items": {"type": "object", "required": ["name"], "properties": {
        "name": {"$ref": "#/definitions/text", "description": "Tools are called name.tool."},
        "command": {"$ref": "#/definitions/textList",
          "description": "The program and its arguments (stdio), or url."},
        "url": {"$ref": "#/definitions/text", "description": "Streamable HTTP, or command."},
        "env": {"$ref": "#/definitions/textMap", "description": "Of the program."},
        "idle_timeout": {"$ref": "#/definitions/duration",
          "description": "After which it is ended."}}}}}
})JSON";

constexpr std::string_view kRest = R"JSON({
  "egress": {"type": ["object", "null"], "description": "The way out of sandboxes.",
    "properties": {
      "allow_private": {"$ref": "#/definitions/textList",
        "description": "Private addresses that may be reached."},
      "max_response_bytes": {"$ref": "#/definitions/size",
        "description": "In each direction of one connection."}}},
  "retention": {"type": ["object", "null"], "description": "What is deleted after a time.",
    "properties": {"executions": {"type": ["string", "integer", "null"],
      "description": "A duration, or 0: kept."}}},
  "observability": {"type": ["object", "null"], "description": "What it tells of itself.",
    "properties": {
      "log_level": {"enum": ["debug", "info", "warn", "error", null], "default": "info",
        "description": "The least that is logged."},
      "log_format": {"enum": ["text", "json", null], "default": "text",
        "description": "A line each."},
      "otlp_endpoint": {"$ref": "#/definitions/text", "description": "Where traces go."}}}
})JSON";

json::Value parsed(std::string_view text) {
    auto value = json::parse(text);
    AEGIS_ASSERT(value.has_value());
    return std::move(*value);
}

json::Value build() {
    json::Object sections{{"server", parsed(kServer)},
                          {"storage", parsed(kStorage)},
                          {"runtime", parsed(kRuntime)},
                          {"llm", parsed(kLlm)},
                          {"tools", parsed(kTools)}};
    auto rest = parsed(kRest);
    for (auto& [name, section] : rest.as_object())
        sections[name] = section;
    return json::Object{{"$schema", "http://json-schema.org/draft-07/schema#"},
                        {"title", "AEGIS node configuration"},
                        {"description", "aegis-config.yaml: everything has a default."},
                        {"type", {"object", "null"}},
                        {"properties", std::move(sections)},
                        {"definitions", parsed(kDefinitions)}};
}

}  // namespace

const json::Value& configSchema() {
    static const json::Value kSchema = build();
    return kSchema;
}

}  // namespace aegis::config
