#include "agent/manifest.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>

#include "agent/problem_cases_for_test.h"
#include "agent/test_facts.h"

namespace aegis::agent {
namespace {

constexpr std::string_view kHeader =
    "apiVersion: 100monkeys.ai/v1\n"
    "kind: Agent\n"
    "metadata: {name: a, version: 1.0.0}\n"
    "spec:\n"
    "  runtime: {language: python, version: 3.11}\n";

NodeFacts facts() {
    NodeFacts facts;
    facts.aliases = {"default", "reasoning"};
    facts.images["python"]["3.12"] = "aegis/python:3.12";
    facts.tools = {"fs.read",       "fs.write",  "fs.edit", "fs.list",
                   "fs.create_dir", "fs.delete", "cmd.run"};
    facts.mcp_servers = {"search"};
    facts.host_millicores = 2000;
    return facts;
}

NodeFacts everything() {
    NodeFacts all = facts();
    all.tools.insert("web.fetch");
    all.isolations.insert(Isolation::kProcess);
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

std::string lines(const std::vector<ErrorDetail>& details, std::string_view prefix) {
    std::string out;
    for (const auto& detail : details)
        out += std::string(prefix) + detail.str() + "\n";
    return out;
}

std::string report(const std::string& text) {
    auto parsed = parseManifests(text, "m.yaml", facts());
    if (!parsed) return lines(parsed.error().details, "");
    std::string out;
    for (const auto& one : *parsed)
        out += lines(one.warnings, "warning: ");
    return out + "ok\n";
}

Manifest parseOne(const std::string& text, const NodeFacts& node = facts()) {
    auto parsed = parseManifests(text, "m.yaml", node);
    if (!parsed) {
        ADD_FAILURE() << parsed.error().message << "\n"
                      << lines(parsed.error().details, "") << text;
        return {};
    }
    EXPECT_EQ(parsed->size(), 1u);
    return parsed->front().manifest;
}

Manifest parseSpec(const std::string& spec, const NodeFacts& node = facts()) {
    return parseOne(std::string(kHeader) + spec, node);
}

TEST(Manifest, ReportsProblemsToTheLetter) {
    auto cases = readProblemCases();
    EXPECT_GT(cases.size(), 50U);
    std::string accepted;
    for (const auto& c : cases) {
        bool spec_only = c.input.starts_with("  ");
        auto actual = report(spec_only ? std::string(kHeader) + c.input : c.input);
        EXPECT_EQ(actual, c.report) << c.title;
        accepted += c.title + "\n" + c.input + "### =>\n" + actual;
    }
    if (std::getenv("AEGIS_ACCEPT"))
        std::ofstream(problemCasesPath(), std::ios::binary) << accepted;
}

TEST(Manifest, TakesTheExamples) {
    std::string examples = std::string(AEGIS_SOURCE_DIR) + "/examples/";
    auto reviewer = parseManifests(readFile(examples + "pr-reviewer.yaml"), "p.yaml", facts());
    ASSERT_TRUE(reviewer) << lines(reviewer.error().details, "");
    EXPECT_EQ(lines(reviewer->front().warnings, ""),
              "p.yaml:30:13: spec.security.network.mode: no egress proxy on this node yet: nothing "
              "but loopback is reachable\n");
    const Manifest& m = reviewer->front().manifest;
    EXPECT_EQ(m.metadata.version, "1.0.0");
    EXPECT_EQ(m.runtime.version, "3.11");
    EXPECT_EQ(m.execution.max_iterations, 5);
    EXPECT_EQ(m.security.resources.memory_bytes, 1ULL << 30);
    EXPECT_EQ(m.volumes.at(0).size_limit_bytes, 2ULL << 30);
    EXPECT_EQ(m.volumes.at(0).ttl_ms, 3'600'000);
    EXPECT_EQ(m.task.prompt_template, "{{instruction}}\n\nUser: {{input}}\nReviewer:\n");
    std::vector<MountGrant> plan{{"workspace", "", "/workspace", false},
                                 {"workspace", "output", "/workspace/output", true}};
    EXPECT_EQ(mountPlan(m), plan);
    EXPECT_EQ(pathsToCreate(m), std::vector<std::string>{"/workspace/output"});
    EXPECT_EQ(defaultCwd(m), "/workspace");

    Manifest coder = parseOne(readFile(examples + "python-coder.yaml"));
    ASSERT_EQ(coder.execution.validation.size(), 2u);
    EXPECT_EQ(typeName(coder.execution.validation[1]), "json_schema");
    EXPECT_EQ(coder.metadata.labels, (StringMap{{"type", "developer"}}));
}

TEST(Manifest, HasTheManualsDefaults) {
    Manifest m = parseSpec("");
    Manifest expected;
    expected.metadata.name = "a";
    expected.metadata.version = "1.0.0";
    expected.runtime.language = "python";
    expected.runtime.version = "3.11";
    EXPECT_EQ(m, expected);
    EXPECT_EQ(resolvedIsolation(m, facts()), Isolation::kDocker);
    EXPECT_EQ(resolvedImage(m, facts()).value_or(""), "aegis/python:3.11");
    m.runtime.version = "2.7";
    EXPECT_EQ(resolvedImage(m, facts()).error().message,
              "this node has no base image for python 2.7");
    EXPECT_EQ(defaultCwd(m), "/tmp");
}

TEST(Manifest, ReadsUnits) {
    auto resources = [](const std::string& text) {
        return parseSpec("  security: {resources: {" + text + "}}\n").security.resources;
    };
    EXPECT_EQ(resources("cpu: 1500").cpu_millicores, 1500);
    EXPECT_EQ(resources("cpu: 500m").cpu_millicores, 500);
    EXPECT_EQ(resources("cpu: '0.5'").cpu_millicores, 500);
    EXPECT_EQ(resources("cpu: \"2\"").cpu_millicores, 2000);
    EXPECT_EQ(resources("cpu: 99999999999").cpu_millicores, 2000);
    EXPECT_EQ(resources("memory: 64M").memory_bytes, 64'000'000u);
    EXPECT_EQ(resources("memory: 1.5Gi").memory_bytes, 1610612736u);
    EXPECT_EQ(resources("memory: 8388608").memory_bytes, 8388608u);
    EXPECT_EQ(resources("timeout: 1.5h").timeout_ms, 5'400'000);
    EXPECT_EQ(resources("timeout: 500ms").timeout_ms, 500);
    auto ttl = [](const std::string& text) {
        return parseSpec("  volumes: [{name: a, mount_point: /a/, ttl_hours: " + text + "}]\n")
            .volumes.at(0);
    };
    EXPECT_EQ(ttl("0").ttl_ms, 0);
    EXPECT_EQ(ttl("0.25").ttl_ms, 900'000);
    EXPECT_EQ(ttl("0").mount_point, "/a");
}

TEST(Manifest, NormalisesTheObjectFormOfValidation) {
    Manifest object = parseSpec(
        "  execution:\n    validation:\n"
        "      semantic: {model: default, criteria: good}\n"
        "      output: {format: regex, pattern: ok, min_confidence: 0.5}\n"
        "      system: {expected: 3, allow_stderr: false}\n",
        everything());
    Manifest list = parseSpec(
        "  execution:\n    validation:\n"
        "      - {type: exit_code, expected: 3, allow_stderr: false}\n"
        "      - {type: regex, pattern: ok, min_confidence: 0.5}\n"
        "      - {type: semantic, model: default, criteria: good, min_score: 0.7}\n",
        everything());
    EXPECT_EQ(object, list);
    EXPECT_TRUE(parseSpec("  execution: {validation: []}\n").execution.validation.empty());
}

TEST(Manifest, TakesOlderSpellings) {
    Manifest older = parseOne(
        "apiVersion: 100monkeys.ai/v1\nkind: Agent\nmetadata: {name: a, version: 1.0.0}\n"
        "spec:\n  image: alpine:3\n  description: old\n  max_iterations: 4\n"
        "  validation: []\n  resources: {cpu_quota: 50000, memory_bytes: 268435456, "
        "timeout_secs: 60}\n"
        "  environment: {A: b}\n  network_policy: {mode: deny}\n"
        "  filesystem_policy: {read_paths: [/w], write_paths: [/w/out]}\n"
        "  volumes: [{name: w, mount_point: /w, ttl: 30m, size_limit_bytes: 1048576}]\n"
        "  tools: [{name: web, server: 'mcp:search'}]\n");
    Manifest newer = parseOne(
        "apiVersion: 100monkeys.ai/v1\nkind: Agent\n"
        "metadata: {name: a, version: 1.0.0, description: old}\n"
        "spec:\n  runtime: {image: 'alpine:3'}\n"
        "  execution: {max_iterations: 4, validation: []}\n"
        "  security:\n    network: {mode: none}\n"
        "    filesystem: {read: [/w], write: [/w/out/**]}\n"
        "    resources: {cpu: 500, memory: 256Mi, timeout: 60s}\n"
        "  env: {A: b}\n"
        "  volumes: [{name: w, mount_path: /w, ttl_hours: 0.5, size_limit_mb: 1}]\n"
        "  tools: [search.web]\n");
    EXPECT_EQ(older, newer);
}

TEST(Manifest, KeepsEachDocumentsSource) {
    std::string first = "# é\n" + std::string(kHeader);
    std::string second = "---\n" + std::string(kHeader) + "# end\n";
    second.replace(second.find("name: a"), 7, "name: b");
    auto parsed = parseManifests(first + second + "---\n", "m.yaml", facts());
    ASSERT_TRUE(parsed);
    ASSERT_EQ(parsed->size(), 2u);
    EXPECT_EQ((*parsed)[0].source, first);
    EXPECT_EQ((*parsed)[1].source, second);
    EXPECT_EQ(parseOne((*parsed)[1].source).metadata.name, "b");
}

TEST(Manifest, TakesJson) {
    std::string text =
        "{\"apiVersion\":\"100monkeys.ai/v1\",\"kind\":\"Agent\",\n\t\"metadata\":{\"name\":\"a\","
        "\"version\":\"1.0.0\",\"description\":\"\\ud83d\\ude00 \\/\"},\"spec\":{\"runtime\":"
        "{\"language\":\"python\",\"version\":\"3.11\"},\"security\":{\"resources\":{\"cpu\":"
        "1000,\"memory\":\"1Gi\"}}}}";
    Manifest m = parseOne(text);
    EXPECT_EQ(m.metadata.description, "\xF0\x9F\x98\x80 /");
    EXPECT_EQ(m.security.resources.memory_bytes, 1ULL << 30);
}

TEST(Manifest, RefusesWhatIsHostileAtOnce) {
    std::clock_t start = std::clock();  // the machine may be busy
    EXPECT_EQ(parseManifests(std::string(2 << 20, ' '), "m", facts()).error().code,
              ErrorCode::kTooLarge);
    EXPECT_EQ(report(std::string("\x7f"
                                 "ELF\0\0",
                                 6)),
              "m.yaml:1:1: a control character; this is not text\n");
    EXPECT_EQ(report(std::string(200'000, '[')), "m.yaml:1:65: nested deeper than 64\n");
    EXPECT_EQ(report("{" + std::string(200'000, '[')),
              "m.yaml:1:2: a mapping's key must be a scalar\n");
    std::string many = "  env:\n";
    for (int i = 0; i < 40'000; ++i)
        many += "    k" + std::to_string(i) + ": v\n";
    EXPECT_EQ(report(std::string(kHeader) + many), "ok\n");
    std::string unknown;
    for (int i = 0; i < 20'000; ++i)
        unknown += "  unknown" + std::to_string(i) + ": v\n";
    EXPECT_EQ(parseManifests(std::string(kHeader) + unknown, "m", facts())->front().warnings.size(),
              20'000u);
    EXPECT_LT(std::clock() - start, 10 * CLOCKS_PER_SEC);
}

TEST(Manifest, SwitchesOnWhatTheNodeOffers) {
    std::string spec =
        "  execution:\n"
        "    validation: [{type: multi_judge, judges: [a, b], criteria: good, "
        "min_judges_required: 2, consensus: majority}]\n"
        "    tool_validation: [{type: semantic, judge_agent: j, criteria: y}]\n"
        "    budget: {usd: 1.5, tokens: 100}\n"
        "  env: {A: 'env:HOME', B: 'secret:KEY'}\n"
        "  context: [{type: file, path: /x}, {type: url, url: 'http://x/'}]\n"
        "  schedule: {cron: '@daily'}\n"
        "  advanced: {warm_pool_size: 2, startup_script: 'true'}\n"
        "  volumes: [{name: v, mount_point: /v, source: {volume_id: "
        "6f1c2a1e-0000-4000-8000-000000000001}}]\n"
        "  security: {network: {mode: deny, denylist: [a.b]}}\n";
    auto parsed = parseManifests(std::string(kHeader) + spec, "m.yaml", everything());
    ASSERT_TRUE(parsed) << lines(parsed.error().details, "");
    EXPECT_EQ(parsed->front().warnings.size(), 3u) << lines(parsed->front().warnings, "");
    const Manifest& m = parsed->front().manifest;
    EXPECT_EQ(m.execution.budget->usd, 1.5);
    EXPECT_EQ(m.volumes.at(0).storage_class, StorageClass::kPersistent);
    EXPECT_EQ(m.volumes.at(0).size_limit_bytes, 0U);
    auto again = manifestFromJson(manifestToJson(m));
    ASSERT_TRUE(again) << lines(again.error().details, "");
    EXPECT_EQ(*again, m);
    NodeFacts with_judges = everything();
    with_judges.agents = {"a", "b", "j"};
    EXPECT_TRUE(
        parseManifests(std::string(kHeader) + spec, "m", with_judges)->front().warnings.empty());
    auto none = parseManifests(std::string(kHeader) + spec, "m", facts());
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().details.size(), 11u) << lines(none.error().details, "");
}

TEST(Manifest, RefusesStoredTextThatIsNone) {
    EXPECT_EQ(manifestFromJson(json::Value("x")).error().code, ErrorCode::kInvalid);
    EXPECT_FALSE(manifestFromJson(json::Object{}));
}

}  // namespace
}  // namespace aegis::agent
