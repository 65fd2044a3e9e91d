#include "config/config.h"

#include <gtest/gtest.h>

#include <map>

namespace aegis::config {
namespace {

using Environment = std::map<std::string, std::string, std::less<>>;

EnvLookup lookup(Environment env) {
    return [env = std::move(env)](std::string_view name) -> std::optional<std::string> {
        auto found = env.find(name);
        if (found == env.end()) return std::nullopt;
        return found->second;
    };
}

std::string lines(const std::vector<ErrorDetail>& details, std::string_view prefix = "") {
    std::string out;
    for (const auto& detail : details)
        out += std::string(prefix) + detail.str() + "\n";
    return out;
}

std::string report(std::string_view text, Environment env = {}) {
    auto parsed = parseConfig(text, "c.yaml", "/etc/aegis", lookup(std::move(env)));
    if (!parsed) return lines(parsed.error().details);
    return lines(parsed->warnings, "warning: ") + "ok\n";
}

Config parseOne(std::string_view text, Environment env = {}) {
    auto parsed = parseConfig(text, "c.yaml", "/etc/aegis", lookup(std::move(env)));
    if (!parsed) {
        ADD_FAILURE() << lines(parsed.error().details);
        return {};
    }
    return std::move(parsed->config);
}

constexpr std::string_view kManual = R"(server:
  addr: "127.0.0.1:9090"
  unix_socket: ""
  token: "env:AEGIS_TOKEN"
  tls: {cert_file: "", key_file: ""}
storage:
  data_dir: ""
  database_url: ""
  volume_dir: ""
runtime:
  isolation: process
  docker_host: "unix:///var/run/docker.sock"
  image_pull_policy: IfNotPresent
  images: {python: {"3.11": "aegis/python:3.11"}}
  max_concurrent_executions: 64
  warm_pool: {size: 2, max_idle: 10m}
llm:
  providers:
    - {name: gpt, type: openai, api_key: "env:OPENAI_API_KEY", model: gpt-4o, base_url: "",
       api_version: "", max_tokens: 4096, context_window: 128000, temperature: 0.2, timeout: 120s,
       price: {input_per_mtok: 2.5, output_per_mtok: 10}}
    - {name: claude, type: anthropic, api_key: "env:ANTHROPIC_API_KEY", model: claude-sonnet-4-5}
    - {name: local, type: ollama, base_url: "http://localhost:11434", model: qwen2.5-coder:32b}
    - {name: offline, type: scripted, script: ./script.yaml}
  aliases:
    default: gpt
    reasoning: [claude, gpt]
tools:
  builtin_dispatcher: {enabled: true, output_limit_bytes: 1048576, timeout_secs: 60}
  subcommand_allowlist: {}
  mcp_servers:
    - {name: search, command: ["node", "server.js"], env: {KEY: "env:KEY"}, idle_timeout: 300s}
    - {name: docs, url: "http://127.0.0.1:3000/mcp"}
egress: {allow_private: [], max_response_bytes: 104857600}
retention: {executions: 0}
observability: {log_level: info, log_format: text, otlp_endpoint: ""}
)";

TEST(Config, TakesTheManualsExample) {
    Environment env{{"OPENAI_API_KEY", "sk-open"}, {"KEY", "k"}, {"AEGIS_TOKEN", "tok"}};
    Config c = parseOne(kManual, env);
    ASSERT_EQ(c.llm.providers.size(), 4u);
    EXPECT_EQ(c.llm.providers[0].api_key.reveal(), "sk-open");
    EXPECT_EQ(c.llm.providers[0].max_tokens, 4096);
    EXPECT_EQ(c.llm.providers[0].price->output_per_mtok, 10);
    EXPECT_EQ(c.llm.providers[1].max_tokens, 4096) << "anthropic always needs one";
    EXPECT_TRUE(c.llm.providers[1].lacksKey());
    EXPECT_EQ(c.llm.providers[1].api_key_variable, "ANTHROPIC_API_KEY");
    EXPECT_EQ(c.llm.providers[2].max_tokens, std::nullopt);
    EXPECT_EQ(c.llm.providers[3].script, "/etc/aegis/script.yaml");
    EXPECT_EQ(c.llm.aliases["reasoning"], (std::vector<std::string>{"claude", "gpt"}));
    EXPECT_FALSE(c.llm.probe_ollama);
    EXPECT_EQ(c.tools.mcp_servers.at(0).env.at("KEY").reveal(), "k");
    EXPECT_EQ(c.server.token.reveal(), "tok");
    EXPECT_TRUE(c.runtime.isolation_given);
    EXPECT_EQ(
        report(kManual, env),
        "warning: c.yaml:22:48: llm.providers[1].api_key: ANTHROPIC_API_KEY is not set: using "
        "this provider will fail\nok\n");
}

TEST(Config, AnEmptyFileGivesTheDefaults) {
    for (std::string_view text : {"", "# nothing\n", "---\n", "{}", "server:\nllm:\n"}) {
        Config c = parseOne(text);
        EXPECT_EQ(json::dump(configToJson(c)), json::dump(configToJson(parseOne(""))));
        EXPECT_EQ(c.server.addr, (Address{"127.0.0.1", 9090}));
        EXPECT_EQ(c.runtime.isolation, "process");
        EXPECT_FALSE(c.runtime.isolation_given);
        EXPECT_EQ(c.runtime.docker_host, "unix:///var/run/docker.sock");
        EXPECT_TRUE(c.llm.providers.empty());
        EXPECT_TRUE(c.llm.aliases.empty());
        EXPECT_TRUE(c.llm.probe_ollama);
        EXPECT_EQ(c.retention_ms, 0);
    }
}

TEST(Config, MakesProvidersFromTheVendorsVariables) {
    Config c = parseOne("", {{"OPENAI_API_KEY", "a"}, {"ANTHROPIC_API_KEY", "b"}});
    ASSERT_EQ(c.llm.providers.size(), 2u);
    EXPECT_EQ(c.llm.providers[0].name, "openai");
    EXPECT_EQ(c.llm.providers[1].type, ProviderType::kAnthropic);
    EXPECT_EQ(c.llm.providers[1].api_key.reveal(), "b");
    EXPECT_EQ(c.llm.aliases["default"], std::vector<std::string>{"openai"});
    EXPECT_TRUE(c.llm.probe_ollama);
    c = parseOne("llm: {aliases: {default: ollama}}", {{"ANTHROPIC_API_KEY", "b"}});
    EXPECT_EQ(c.llm.aliases["default"], std::vector<std::string>{"ollama"});
    c = parseOne("llm: {providers: [{name: x, type: ollama, model: m}]}",
                 {{"OPENAI_API_KEY", "a"}});
    EXPECT_EQ(c.llm.providers.size(), 1u);
    EXPECT_EQ(c.llm.aliases["default"], std::vector<std::string>{"x"});
}

TEST(Config, ReportsEveryProblem) {
    const std::pair<const char*, const char*> kTable[] = {
        {"server: {addr: nowhere, adr: x, tls: {cert_file: a}}\n",
         "c.yaml:1:16: server.addr: \"nowhere\" is not an address (expected host:port)\n"
         "c.yaml:1:25: server.adr: unknown field (did you mean \"addr\"?)\n"
         "c.yaml:1:38: server.tls: needs both or neither (expected cert_file and key_file)\n"},
        {"nonsense: 1\n", "warning: c.yaml:1:1: nonsense: unknown field, ignored\nok\n"},
        {"runtime:\n  isolation: firecracker\n  max_concurrent_executions: 0\n"
         "  warm_pool: {size: -1, max_idle: 5}\n  images: {node: [20]}\n",
         "c.yaml:2:14: runtime.isolation: \"firecracker\" is not valid (expected process or "
         "docker)\n"
         "c.yaml:3:30: runtime.max_concurrent_executions: 0 is out of range (expected 1 to "
         "100000)\n"
         "c.yaml:4:21: runtime.warm_pool.size: -1 is out of range (expected 0 to 1000)\n"
         "c.yaml:4:35: runtime.warm_pool.max_idle: 5 is not a duration (expected a number with a "
         "unit, such as 500ms, 30s, 5m or 1h)\n"
         "c.yaml:5:18: runtime.images.node: is a list (expected a mapping)\n"},
        {"llm:\n  providers:\n    - {name: gpt, type: opnai, model: m}\n"
         "    - {name: gpt, type: scripted}\n    - {type: ollama, script: x}\n"
         "    - {name: z, type: openai, model: m, base_url: localhost, api_key: [k]}\n"
         "  aliases: {default: gtp, fast: [gpt, nope], none: []}\n",
         "c.yaml:3:25: llm.providers[0].type: \"opnai\" is not valid (expected openai, anthropic, "
         "ollama or scripted; did you mean \"openai\"?)\n"
         "c.yaml:4:7: llm.providers[1].script: is required (expected the path of a list of "
         "answers)\n"
         "c.yaml:4:7: llm.providers[1].name: another provider is named \"gpt\" too\n"
         "c.yaml:5:7: llm.providers[2].name: is required (expected letters, digits, dashes and "
         "underscores, at most 64)\n"
         "c.yaml:5:7: llm.providers[2].model: is required (expected the vendor's name of a model)\n"
         "c.yaml:5:30: llm.providers[2].script: only a provider of type scripted has one\n"
         "c.yaml:6:51: llm.providers[3].base_url: \"localhost\" is not a URL (expected http://... "
         "or https://...)\n"
         "c.yaml:6:71: llm.providers[3].api_key: is a list (expected text)\n"
         "c.yaml:7:22: llm.aliases.default: there is no provider \"gtp\" (expected gpt, gpt or z; "
         "did you mean \"gpt\"?)\n"
         "c.yaml:7:39: llm.aliases.fast[1]: there is no provider \"nope\" (expected gpt, gpt or "
         "z)\n"
         "c.yaml:7:52: llm.aliases.none: is empty (expected a provider or a list of them)\n"},
        {"tools:\n  mcp_servers:\n    - {name: a}\n    - {name: a, url: ftp://x, command: [x]}\n"
         "  subcommand_allowlist: {git: status}\n",
         "c.yaml:3:7: tools.mcp_servers[0]: needs one of command and url\n"
         "c.yaml:4:7: tools.mcp_servers[1]: needs one of command and url\n"
         "c.yaml:4:7: tools.mcp_servers[1].name: another server is named \"a\" too\n"
         "c.yaml:4:22: tools.mcp_servers[1].url: \"ftp://x\" is not a URL (expected http://... or "
         "https://...)\n"
         "c.yaml:5:31: tools.subcommand_allowlist.git: is text (expected a list)\n"},
        {"observability: {log_level: env:LEVEL, log_format: env:1X}\n",
         "c.yaml:1:51: observability.log_format: \"1X\" is not a variable's name (expected "
         "env:NAME)\n"},
        {"retention: {executions: 5}\n",
         "c.yaml:1:25: retention.executions: 5 is not a duration (expected a number with a unit, "
         "such as 500ms, 30s, 5m or 1h)\n"},
        {"a: 1\n---\nb: 2\n", "c.yaml:3:1: a second document (expected one)\n"},
        {"- a\n", "c.yaml:1:1: is a list (expected a mapping)\n"},
        {"server: [",
         "c.yaml:2:1: did not find expected node content (while parsing a flow node)\n"},
    };
    for (const auto& [text, expected] : kTable)
        EXPECT_EQ(report(text), expected) << text;
}

TEST(Config, ExpandsVariablesAnywhereButShowsNoSecret) {
    Environment env{{"LEVEL", "debug"},
                    {"N", "7"},
                    {"ADDR", "0.0.0.0:80"},
                    {"K", "top-secret"},
                    {"DB", "postgresql://u:top-secret@h/d"},
                    {"DOCKER_HOST", "unix:///x.sock"}};
    std::string text =
        "server: {addr: 'env:ADDR', token: 'env:K'}\n"
        "storage: {data_dir: state, database_url: 'env:DB', volume_dir: /v}\n"
        "runtime: {max_concurrent_executions: env:N, image_pull_policy: env:UNSET}\n"
        "llm: {providers: [{name: a, type: anthropic, model: m, api_key: 'env:K'}]}\n"
        "tools: {mcp_servers: [{name: s, command: [x, 'env:LEVEL'], env: {K: 'env:K'}}]}\n"
        "observability: {log_level: env:LEVEL}\n"
        "retention: {executions: 24h}\n";
    Config c = parseOne(text, env);
    EXPECT_EQ(c.server.addr, (Address{"0.0.0.0", 80}));
    EXPECT_EQ(c.runtime.max_concurrent_executions, 7);
    EXPECT_EQ(c.runtime.image_pull_policy, "IfNotPresent");
    EXPECT_EQ(c.runtime.docker_host, "unix:///x.sock");
    EXPECT_EQ(c.storage.data_dir, "/etc/aegis/state");
    EXPECT_EQ(c.storage.volume_dir, "/v");
    EXPECT_EQ(c.observability.log_level, "debug");
    EXPECT_EQ(c.retention_ms, 86'400'000);
    EXPECT_EQ(c.tools.mcp_servers.at(0).command.at(1), "debug");
    EXPECT_EQ(c.storage.database_url.reveal(), env["DB"]);
    std::string dump = json::dumpPretty(configToJson(c));
    EXPECT_EQ(dump.find("top-secret"), std::string::npos) << dump;
    EXPECT_NE(dump.find("\"token\": \"***\""), std::string::npos) << dump;
    EXPECT_NE(dump.find("\"K\": \"***\""), std::string::npos) << dump;
    EXPECT_NE(dump.find("\"max_idle\": \"600s\""), std::string::npos) << dump;
    auto again = parseConfig(dump, "dump.json", "", lookup({}));
    ASSERT_TRUE(again) << lines(again.error().details);
    EXPECT_EQ(json::dumpPretty(configToJson(again->config)), dump);
}

TEST(Config, KnowsWhatMayBeServed) {
    auto servable = [](const std::string& text, Environment env = {}) {
        auto status = checkServable(parseOne(text, std::move(env)));
        return status ? std::string("yes") : status.error().message;
    };
    EXPECT_EQ(servable(""), "yes");
    EXPECT_EQ(servable("server: {addr: 'localhost:0'}"), "yes");
    EXPECT_EQ(servable("server: {addr: '[::1]:1'}"), "yes");
    EXPECT_EQ(servable("server: {addr: '127.9.9.9:1'}"), "yes");
    EXPECT_EQ(servable("server: {addr: ':80', token: x}"), "yes");
    EXPECT_EQ(servable("server: {addr: '0.0.0.0:80'}", {{"AEGIS_TOKEN", "x"}}), "yes");
    EXPECT_EQ(servable("server: {addr: '0.0.0.0:80', token: ''}", {{"AEGIS_TOKEN", "x"}}),
              "server.addr 0.0.0.0:80 can be reached from other machines, and there is no "
              "server.token");
    EXPECT_NE(servable("server: {addr: '127.evil.example:80'}"), "yes");
    EXPECT_FALSE(parseAddress("::1:80"));
    EXPECT_FALSE(parseAddress("a:65536"));
    EXPECT_FALSE(parseAddress("a:"));
    EXPECT_FALSE(parseAddress("a:-1"));
    EXPECT_FALSE(parseAddress("http://a:1"));
}

TEST(Config, FindsTheDataDirectory) {
    auto dir = [](const std::string& text, bool root, Environment env) {
        auto found = resolveDataDir(parseOne(text), root, lookup(std::move(env)));
        return found ? *found : "error: " + found.error().message;
    };
    Environment home{{"HOME", "/home/u"}};
    EXPECT_EQ(dir("storage: {data_dir: /d}", false, {{"AEGIS_DATA_DIR", "/e"}}), "/d");
    EXPECT_EQ(dir("", true, {{"AEGIS_DATA_DIR", "/e"}}), "/e");
    EXPECT_EQ(dir("", true, home), "/var/lib/aegis");
    EXPECT_EQ(dir("", false, home), "/home/u/.local/state/aegis");
    EXPECT_EQ(dir("", false, {{"HOME", "/h"}, {"XDG_STATE_HOME", "/s"}}), "/s/aegis");
    EXPECT_EQ(dir("", false, {{"HOME", "/h"}, {"XDG_STATE_HOME", "s"}}), "/h/.local/state/aegis");
    EXPECT_EQ(dir("", false, {}), "error: no data directory: HOME is not set");
}

}  // namespace
}  // namespace aegis::config
