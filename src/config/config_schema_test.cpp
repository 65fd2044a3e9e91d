#include "config/config_schema.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "config/config_reading.h"
#include "text/json_schema.h"
#include "text/schema_fields_for_test.h"

namespace aegis::config {
namespace {

// Every field there is.
constexpr std::string_view kEverything = R"(
server:
  addr: "127.0.0.1:9090"
  unix_socket: /run/aegis.sock
  token: "env:AEGIS_TOKEN"
  tls: {cert_file: c.pem, key_file: k.pem}
storage: {data_dir: /d, database_url: "", volume_dir: /v}
runtime:
  isolation: docker
  docker_host: "unix:///var/run/docker.sock"
  image_pull_policy: IfNotPresent
  images: {python: {"3.11": "aegis/python:3.11"}}
  max_concurrent_executions: 64
  warm_pool: {size: 2, max_idle: 10m}
llm:
  providers:
    - {name: gpt, type: openai, api_key: "env:KEY", model: gpt-4o, base_url: "https://h/v1",
       api_version: "1", max_tokens: 4096, max_tokens_field: max_completion_tokens,
       context_window: 128000, temperature: 0.2, timeout: 120s, max_response_bytes: 1Mi,
       price: {input_per_mtok: 2.5, output_per_mtok: 10}}
    - {name: offline, type: scripted, script: ./script.yaml}
  aliases: {default: gpt, reasoning: [gpt, offline]}
tools:
  builtin_dispatcher: {enabled: true, output_limit_bytes: 1048576, timeout_secs: 60}
  subcommand_allowlist: {git: [status]}
  mcp_servers:
    - {name: search, command: [node, s.js], env: {KEY: "env:KEY"}, idle_timeout: 300s}
    - {name: docs, url: "http://127.0.0.1:3000/mcp"}
egress: {allow_private: [10.0.0.0/8], max_response_bytes: 100Mi}
retention: {executions: 30d}
observability: {log_level: info, log_format: json, otlp_endpoint: ""}
)";

std::optional<std::string> noEnvironment(std::string_view) { return std::nullopt; }

std::string schemaSays(std::string_view text) {
    static const auto kSchema = text::JsonSchema::compile(configSchema());
    EXPECT_TRUE(kSchema) << (kSchema ? "" : kSchema.error().message);
    auto documents = yaml::parse(text, {});
    if (!documents || documents->empty()) return documents ? "" : "no YAML";
    auto value = yaml::toJson(documents->front().root);
    if (!value) return "no JSON";
    std::string out;
    for (const auto& violation : kSchema->validate(*value))
        out += violation.str() + "\n";
    return out;
}

TEST(ConfigSchema, TakesWhatTheParserTakes) {
    for (std::string_view text :
         {kEverything, std::string_view(""), std::string_view("server:\nllm:\n"),
          std::string_view("runtime:\n  max_concurrent_executions: env:N\n"),
          std::string_view("retention: {executions: 0}\n"),
          std::string_view("unknown: {a: 1}\n")}) {
        auto env = [](std::string_view name) -> std::optional<std::string> {
            return name == "N" ? std::optional<std::string>("5") : std::nullopt;
        };
        auto parsed = parseConfig(text, "c.yaml", "/etc", env);
        EXPECT_TRUE(parsed) << parsed.error().details.front().str();
        EXPECT_EQ(schemaSays(text), "") << text;
    }
    std::ifstream in(std::string(AEGIS_SOURCE_DIR) + "/examples/scripted/aegis-config.yaml");
    std::stringstream example;
    example << in.rdbuf();
    ASSERT_FALSE(example.str().empty());
    EXPECT_EQ(schemaSays(example.str()), "");
}

TEST(ConfigSchema, RefusesWhatIsWrongByShape) {
    for (std::string_view text :
         {"server: [a]\n", "runtime: {isolation: firecracker}\n",
          "runtime: {max_concurrent_executions: many}\n", "runtime: {warm_pool: {size: -1}}\n",
          "llm: {providers: [{type: openai, model: m}]}\n",
          "llm: {providers: [{name: a, type: telepathy, model: m}]}\n",
          "llm: {providers: [{name: a, type: openai, model: m, timeout: soon}]}\n",
          "llm: {providers: {a: b}}\n", "observability: {log_level: loud}\n",
          "tools: {mcp_servers: [{url: \"http://h/\"}]}\n",
          "tools: {builtin_dispatcher: {enabled: perhaps}}\n"}) {
        EXPECT_FALSE(parseConfig(text, "c.yaml", "/etc", noEnvironment)) << text;
        EXPECT_NE(schemaSays(text), "") << text;
    }
}

// Nothing may drift: field by field, both know the same.
TEST(ConfigSchema, KnowsTheParsersFields) {
    auto documents = yaml::parse(kEverything, {});
    ASSERT_TRUE(documents);
    yaml::Problems problems("c.yaml");
    text::Fields parsers;
    problems.onField([&](const std::string& path, std::string_view key) {
        parsers[text::anyItem(path)].emplace(key);
    });
    EnvLookup env = noEnvironment;
    detail::Context context{problems, env, "/etc"};
    Config config;
    detail::readRoot(documents->front().root, config, context);
    // Its keys are names of variables.
    parsers.erase("tools.mcp_servers[].env");
    text::SchemaFields schema(configSchema());
    EXPECT_TRUE(schema.undescribed().empty()) << *schema.undescribed().begin();
    EXPECT_EQ(schema.fields(), parsers);
}

}  // namespace
}  // namespace aegis::config
