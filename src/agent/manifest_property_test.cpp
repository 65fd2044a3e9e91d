#include <gtest/gtest.h>

#include <random>

#include "agent/manifest.h"
#include "agent/manifest_schema.h"
#include "agent/test_facts.h"
#include "text/json_schema.h"

namespace aegis::agent {
namespace {

/// Random manifests that are valid on a node that offers everything.
class Maker {
  public:
    explicit Maker(unsigned seed) : engine_(seed) {}

    Manifest manifest() {
        Manifest m;
        m.metadata = {"a" + std::to_string(upTo(999)), "1.2." + std::to_string(upTo(99)), text(),
                      map(), map()};
        if (coin()) {
            m.runtime.language = "python";
            m.runtime.version = "3.11";
        } else {
            m.runtime.image = "registry/image:" + std::to_string(upTo(99));
        }
        m.runtime.image_pull_policy = static_cast<ImagePullPolicy>(upTo(2));
        m.runtime.isolation = static_cast<Isolation>(upTo(3));
        if (coin()) m.runtime.temperature = upTo(200) / 100.0;
        if (coin()) m.runtime.max_tokens = 1 + upTo(100'000);
        m.task.instruction = text();
        if (coin()) m.task.prompt_template = "{{instruction}} " + text();
        if (coin()) m.task.input_data = json::Object{{"a", text()}, {"n", upTo(1000) / 8.0 + 0.01}};
        if (coin()) m.input_schema = json::Value{{"type", "object"}, {"minProperties", upTo(9)}};
        m.execution = execution();
        m.security = security();
        if (coin()) tools(m);
        m.env = map();
        for (int i = upTo(3); i > 0; --i)
            m.context.push_back({static_cast<ContextItem::Type>(upTo(2)), text(), text()});
        if (coin()) m.schedule = Schedule{"0 6 * * " + std::to_string(upTo(6)), "UTC", coin()};
        m.advanced = {upTo(64), coin() ? "/opt/boot.py" : "", coin() ? text() : ""};
        for (int i = upTo(3); i > 0; --i)
            m.volumes.push_back(volume(i));
        return m;
    }

  private:
    int upTo(int most) { return static_cast<int>(engine_() % (static_cast<unsigned>(most) + 1)); }
    bool coin() { return upTo(1) == 1; }
    std::int64_t ms(std::int64_t most) {
        return 1 + static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(most));
    }
    std::string text() {
        static const std::vector<std::string> kPieces{
            "x",  "1",  "3.10", "true", "null", "~", " ", "\n", "\t", "é",  "\"", "'", "\\", ": ",
            "# ", "- ", "[",    "|",    ">",    "%", "@", "&a", "*a", "!b", "<<", "?", "env"};
        std::string out;
        for (int i = upTo(6); i > 0; --i)
            out += kPieces[static_cast<std::size_t>(upTo(static_cast<int>(kPieces.size()) - 1))];
        return out;
    }
    StringMap map() {
        StringMap out;
        for (int i = upTo(3); i > 0; --i)
            out["K" + std::to_string(upTo(9))] = text();
        return out;
    }
    Validator validator() {
        Validator v;
        SemanticCheck semantic{"", "default", text(), ms(86'400'000),
                               static_cast<OnUnavailable>(upTo(1))};
        switch (upTo(5)) {
            case 0:
                v.check = ExitCodeCheck{upTo(255), coin()};
                break;
            case 1:
                v.check =
                    JsonSchemaCheck{json::Value{{"type", "object"}}, "", coin() ? "/w/r.json" : ""};
                break;
            case 2:
                v.check = RegexCheck{"a+" + std::to_string(upTo(9)), "stdout"};
                break;
            case 3:
                v.check = CommandCheck{{"sh", text()}, ms(86'400'000)};
                break;
            case 4:
                v.check = semantic;
                break;
            default:
                semantic.model.clear();
                v.check = MultiJudgeCheck{{"a", text()}, Consensus::kMajority, 2, semantic};
        }
        v.min_score = upTo(100) / 100.0;
        v.min_confidence = upTo(1000) / 1000.0;
        return v;
    }
    ExecutionSpec execution() {
        ExecutionSpec e;
        e.mode = static_cast<Mode>(upTo(1));
        e.max_iterations = e.mode == Mode::kOneShot ? 1 : 1 + upTo(99);
        e.iteration_timeout_ms = ms(86'400'000);
        e.max_tool_calls = upTo(1000);
        e.max_model_calls = 1 + upTo(1000);
        e.validation.clear();
        for (int i = upTo(4); i > 0; --i)
            e.validation.push_back(validator());
        if (coin()) e.tool_validation = {{SemanticCheck{"judge", "", text(), 5, {}}, 0.25, 0}};
        if (coin()) e.budget = Budget{upTo(100) / 7.0, {}, upTo(9), {}};
        return e;
    }
    SecuritySpec security() {
        SecuritySpec s;
        s.network.mode = static_cast<NetworkMode>(upTo(2));
        if (s.network.mode != NetworkMode::kNone) s.network.allowlist = {"api.a.com:443", "*.b.c"};
        s.network.denylist = {"10.0.0.0/8"};
        if (coin()) s.filesystem.read = std::vector<std::string>{"/v1/a", "/elsewhere"};
        if (coin()) s.filesystem.write.emplace();
        s.filesystem.read_only = coin();
        s.resources.cpu_millicores = 10 + upTo(100'000);
        s.resources.memory_bytes = (6ULL << 20) + engine_() % (1ULL << 40);
        s.resources.disk_bytes = (64ULL << 10) + engine_() % (1ULL << 40);
        s.resources.pids = 8 + upTo(1000);
        s.resources.timeout_ms = ms(86'400'000);
        return s;
    }
    Volume volume(int number) {
        Volume v;
        v.name = "v" + std::to_string(number);
        v.mount_point = "/" + v.name;
        v.access_mode = static_cast<AccessMode>(upTo(1));
        v.size_limit_bytes = (1ULL << 20) + engine_() % (1ULL << 40);
        v.storage_class = static_cast<StorageClass>(upTo(1));
        if (v.storage_class == StorageClass::kEphemeral) v.ttl_ms = ms(300'000'000'000) - 1;
        if (v.storage_class == StorageClass::kPersistent && coin()) {
            v.source_volume_id = "6f1c2a1e-0000-4000-8000-00000000000" + std::to_string(number);
            if (coin()) v.size_limit_bytes = 0;
        }
        return v;
    }
    void tools(Manifest& m) {
        m.tools.emplace();
        if (coin()) m.tools->push_back({"fs.read", {}});
        if (coin()) m.tools->push_back({"cmd.run", {{"git", {"status", text()}}, {"ls", {}}}});
    }

    std::mt19937_64 engine_;
};

NodeFacts everything() {
    NodeFacts all;
    all.isolations = {Isolation::kDocker, Isolation::kProcess, Isolation::kFirecracker};
    grantEveryCapability(all);
    return all;
}

TEST(ManifestProperty, SurvivesStorageAndRedeployment) {
    NodeFacts node = everything();
    auto schema = text::JsonSchema::compile(manifestSchema());
    ASSERT_TRUE(schema);
    for (unsigned seed = 1; seed <= 500; ++seed) {
        Manifest m = Maker(seed).manifest();
        std::string stored = json::dump(manifestToJson(m));
        auto value = json::parse(stored);
        ASSERT_TRUE(value) << stored;
        auto violations = schema->validate(*value);
        ASSERT_TRUE(violations.empty()) << violations.front().str() << "\n" << stored;
        auto loaded = manifestFromJson(*value);
        ASSERT_TRUE(loaded) << "seed " << seed << ": " << loaded.error().details.front().str();
        ASSERT_EQ(json::dump(manifestToJson(*loaded)), stored) << "seed " << seed;
        ASSERT_TRUE(*loaded == m) << "seed " << seed << ": " << stored;
        auto again = parseManifests(stored, "stored.json", node);
        ASSERT_TRUE(again) << "seed " << seed << ": " << again.error().details.front().str() << "\n"
                           << stored;
        NetworkMode mode = m.security.network.mode;
        ASSERT_EQ(again->front().manifest.security.network.mode, mode) << "seed " << seed;
        ASSERT_TRUE(again->front().manifest == m) << "seed " << seed << ": " << stored;
    }
}

}  // namespace
}  // namespace aegis::agent
