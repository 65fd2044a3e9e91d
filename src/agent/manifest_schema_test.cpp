#include "agent/manifest_schema.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "agent/manifest.h"
#include "agent/parse_context.h"
#include "agent/problem_cases_for_test.h"
#include "agent/test_facts.h"
#include "text/json_schema.h"
#include "text/schema_fields_for_test.h"

namespace aegis::agent {
namespace {

constexpr std::string_view kHeader =
    "apiVersion: 100monkeys.ai/v1\n"
    "kind: Agent\n"
    "metadata: {name: a, version: 1.0.0}\n"
    "spec:\n"
    "  runtime: {language: python, version: 3.11}\n";

// Every field of today's grammar.
constexpr std::string_view kToday = R"(apiVersion: 100monkeys.ai/v1
kind: Agent
metadata: {name: a, version: 1.0.0, description: d, labels: {k: v}, annotations: {k: v}}
spec:
  runtime: {language: python, version: "3.11", image_pull_policy: Never, isolation: docker,
            model: default, temperature: 0.5, max_tokens: 100}
  task: {instruction: i, prompt_template: "{{input}}", input_data: {a: 1}}
  input_schema: {type: object}
  execution:
    mode: iterative
    max_iterations: 3
    iteration_timeout: 30s
    max_tool_calls: 5
    max_model_calls: 5
    validation: VALIDATORS
    tool_validation:
      - {type: semantic, judge_agent: j, criteria: c}
      - {type: semantic, model: default, criteria: c, timeout: 5s, on_unavailable: skip}
    budget: {usd: 1.5, tokens: 10, llm_calls: 3, tool_calls: 4}
  security:
    network: {mode: allow, allowlist: ["*.example.com"], denylist: [10.0.0.0/8]}
    filesystem: {read: [/w], write: [/w/**], read_only: false}
    resources: {cpu: 500m, memory: 128Mi, disk: 64Mi, pids: 64, timeout: 5m}
  volumes:
    - {name: w, storage_class: ephemeral, mount_point: /w, access_mode: read-write,
       size_limit_mb: 64, ttl_hours: 0.5}
    - {name: x, mount_path: /x, size_limit: 2Gi, ttl_hours: 1}
    - {name: y, mount_point: /y, source: {volume_id: 6f1c2a1e-0000-4000-8000-000000000001}}
  tools: [fs.read, {name: cmd.run, subcommand_allowlist: {git: [status]}}]
  env: {A: b}
  context:
    - {type: text, text: t, description: d}
    - {type: text, content: t}
    - {type: file, path: /p}
    - {type: url, url: "https://example.com"}
  schedule: {cron: "@daily", timezone: UTC, enabled: true}
  advanced: {warm_pool_size: 1, bootstrap_path: /b.py, startup_script: s}
)";

constexpr std::string_view kValidators = R"([
      {type: exit_code, expected: 0, allow_stderr: true, min_score: 1, min_confidence: 0},
      {type: json_schema, schema: {type: object}, target_path: /w/r.json},
      {type: json_schema, schema_path: /w/s.json},
      {type: regex, pattern: "a+", target: stdout},
      {type: command, command: [pytest, -q], timeout: 60s},
      {type: semantic, judge_agent: j, criteria: c, min_score: 0.5},
      {type: semantic, model: default, criteria: c, timeout: 5s, on_unavailable: fail},
      {type: multi_judge, judges: [a, b], consensus: mean, min_judges_required: 1, criteria: c}])";

constexpr std::string_view kObjectForm = R"({
      system: {expected: 0, allow_stderr: false, min_score: 1, min_confidence: 0},
      output: {format: json, schema: {type: object}, min_score: 1, min_confidence: 0},
      semantic: {model: default, criteria: c, timeout: 5s, on_unavailable: skip,
                 min_score: 0.5, min_confidence: 0.5}})";

constexpr std::string_view kOutputForms[] = {
    R"({output: {format: json, schema_path: /s}, semantic: {judge_agent: j, criteria: c}})",
    R"({output: {format: regex, pattern: a}})"};

// What older manifests say.
constexpr std::string_view kOlder = R"(apiVersion: 100monkeys.ai/v1
kind: Agent
metadata: {name: a, version: 1.0.0}
spec:
  image: registry/image:1
  description: d
  max_iterations: 3
  validation: VALIDATORS
  network_policy: {mode: deny, allowlist: [], denylist: []}
  filesystem_policy: {read_paths: [/w], write_paths: [/w], read_only: false}
  resources: {cpu_quota: 50000, memory_bytes: 268435456, timeout_secs: 60, disk: 64Mi, pids: 64}
  environment: {A: b}
  capabilities: []
  security_context: {}
  volumes:
    - {name: w, mount_point: /w, size_limit_bytes: 67108864, ttl: 1h}
    - {name: y, mount_point: /y, volume_id: 6f1c2a1e-0000-4000-8000-000000000001}
  tools: [{name: fs.read, server: "mcp:fs", config: {}}]
)";

constexpr std::string_view kOlderInside = R"(apiVersion: 100monkeys.ai/v1
kind: Agent
metadata: {name: a, version: 1.0.0}
spec:
  runtime: {image: registry/image:1}
  execution: {max_retries: 2}
  security:
    network_policy: {mode: deny, allowlist: [], denylist: []}
    filesystem_policy: {read_paths: [], write_paths: [], read_only: true}
)";

std::vector<std::string> everyForm() {
    auto with = [](std::string_view manifest, std::string_view validation) {
        std::string out(manifest);
        auto at = out.find("VALIDATORS");
        if (at != std::string::npos) out.replace(at, 10, validation);
        return out;
    };
    std::vector<std::string> out{std::string(kOlderInside)};
    for (auto manifest : {kToday, kOlder}) {
        out.push_back(with(manifest, kValidators));
        out.push_back(with(manifest, kObjectForm));
        for (auto form : kOutputForms)
            out.push_back(with(manifest, form));
    }
    return out;
}

NodeFacts everything() {
    NodeFacts all;
    all.aliases = {"default", "reasoning"};
    all.isolations = {Isolation::kDocker, Isolation::kProcess, Isolation::kFirecracker};
    grantEveryCapability(all);
    return all;
}

std::string readFile(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in) << path;
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

/// What the schema says of each document of a file; "" if it takes them all.
std::string schemaSays(const std::string& text) {
    static const auto kSchema = text::JsonSchema::compile(manifestSchema());
    EXPECT_TRUE(kSchema) << (kSchema ? "" : kSchema.error().message);
    auto documents = yaml::parse(text, {});
    if (!documents) return "no YAML";
    std::string out;
    for (const auto& document : *documents) {
        if (document.root.isNull()) continue;
        auto value = yaml::toJson(document.root);
        if (!value) return "no JSON";
        for (const auto& violation : kSchema->validate(*value))
            out += violation.str() + "\n";
    }
    return out;
}

TEST(ManifestSchema, TakesWhatTheParserTakes) {
    for (const auto& text : everyForm()) {
        auto parsed = parseManifests(text, "m.yaml", everything());
        ASSERT_TRUE(parsed) << parsed.error().details.front().str() << "\n" << text;
        EXPECT_EQ(schemaSays(text), "") << text;
    }
    std::string examples = std::string(AEGIS_SOURCE_DIR) + "/examples/";
    for (auto name : {"python-coder.yaml", "pr-reviewer.yaml"})
        EXPECT_EQ(schemaSays(readFile(examples + name)), "") << name;
}

// The cases of manifest_problems.txt: what the parser takes there, the schema takes; and of what it
// refuses, the schema refuses what can be seen without a node and without comparing fields.
TEST(ManifestSchema, AgreesWithTheParsersCases) {
    int taken = 0, refused = 0, refused_too = 0;
    for (const auto& c : readProblemCases()) {
        bool spec_only = c.input.starts_with("  ");
        auto says = schemaSays(spec_only ? std::string(kHeader) + c.input : c.input);
        if (c.report.ends_with("ok\n")) {
            EXPECT_EQ(says, "") << c.title;
            ++taken;
        } else {
            ++refused;
            refused_too += says.empty() ? 0 : 1;
        }
    }
    EXPECT_GT(taken, 5);
    EXPECT_GT(refused, 40);
    EXPECT_GT(refused_too * 2, refused) << refused_too << " of " << refused;
}

TEST(ManifestSchema, RefusesWhatIsWrongByShape) {
    for (std::string_view spec : {
             "  security: {resource: {cpu: 100}}\n",
             "  security: {resources: {memoy: 1Gi}}\n",
             "  security: {resources: {memory: lots}}\n",
             "  security: {resources: {cpu: 5}}\n",
             "  security: {resources: {pids: 1}}\n",
             "  security: {network: {mode: open}}\n",
             "  security: {filesystem: {read: [relative]}}\n",
             "  volumes: [{mount_point: /w, ttl_hours: 0}]\n",
             "  volumes: [{name: w, ttl_hours: 0}]\n",
             "  volumes: [{name: w, mount_point: w, ttl_hours: 0}]\n",
             "  volumes: [{name: w, mount_point: /w, ttl_hours: 0, size: 5}]\n",
             "  volumes: {name: w}\n",
             "  execution: {max_iterations: 0}\n",
             "  execution: {max_iterations: 101}\n",
             "  execution: {mode: forever}\n",
             "  execution: {iteration_timeout: soon}\n",
             "  execution: {validation: [{type: magic}]}\n",
             "  execution: {validation: [{type: regex}]}\n",
             "  execution: {validation: [{type: json_schema}]}\n",
             "  execution: {validation: [{type: command, command: []}]}\n",
             "  execution: {validation: exit_code}\n",
             "  execution: {validation: [{type: exit_code, min_score: 2}]}\n",
             "  tools: fs.read\n",
             "  tools: [{server: x}]\n",
             "  context: [{type: image}]\n",
             "  schedule: {timezone: UTC}\n",
             "  task: [a]\n",
             "  env: [A]\n",
         }) {
        auto text = std::string(kHeader) + std::string(spec);
        EXPECT_FALSE(parseManifests(text, "m.yaml", everything())) << spec;
        EXPECT_NE(schemaSays(text), "") << spec;
    }
    EXPECT_NE(schemaSays("apiVersion: v2\nkind: Agent\nmetadata: {name: a, version: 1.0.0}\n"
                         "spec: {runtime: {image: x}}\n"),
              "");
    EXPECT_NE(schemaSays("apiVersion: 100monkeys.ai/v1\nkind: Agent\n"
                         "metadata: {name: A_b, version: 1.0}\nspec: {runtime: {image: x}}\n"),
              "");
}

// Nothing may drift: field by field, both know the same.
TEST(ManifestSchema, KnowsTheParsersFields) {
    text::Fields parsers;
    for (const auto& text : everyForm()) {
        auto documents = yaml::parse(text, {});
        ASSERT_TRUE(documents);
        yaml::Problems problems("m.yaml");
        problems.onField([&](const std::string& path, std::string_view key) {
            parsers[text::anyItem(path)].emplace(key);
        });
        detail::Context context{problems, nullptr, text};
        detail::readManifest(documents->front().root, context);
    }
    text::SchemaFields schema(manifestSchema());
    EXPECT_TRUE(schema.undescribed().empty()) << *schema.undescribed().begin();
    for (const auto& [path, fields] : parsers)
        EXPECT_EQ(
            schema.fields().contains(path) ? schema.fields().at(path) : std::set<std::string>(),
            fields)
            << path;
    for (const auto& [path, fields] : schema.fields())
        EXPECT_TRUE(parsers.contains(path)) << path << " is not covered";
}

}  // namespace
}  // namespace aegis::agent
