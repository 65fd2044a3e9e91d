#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <random>
#include <set>
#include <sstream>

#include "execution/event.h"
#include "execution/event_text.h"

namespace aegis::execution {
namespace {

constexpr const char* kOdd = "tab\t quote\" back\\ nl\n nul\x01 é 漢字 🙂 {{x}} </script>";

BodyRef ref(char digit) { return {std::string(64, digit), 70'000}; }

template <class T>
T id(const char* text) {
    return *T::parse(text);
}

// One event of each type with every field set to something that is not its default.
std::vector<EventData> samples(const std::string& text) {
    auto agent = id<AgentId>("a1b2c3d4-0000-4000-8000-000000000001");
    auto volume = id<VolumeId>("b1b2c3d4-0000-4000-8000-000000000002");
    auto root = id<ExecutionId>("c1b2c3d4-0000-4000-8000-000000000003");
    auto parent = id<ExecutionId>("d1b2c3d4-0000-4000-8000-000000000004");
    Plan plan{7, 1000, 2000, 8, 9, false, false, true, {}};
    Plan with_budget = plan;
    with_budget.budget = Budget{0.25, 1000, 20, 30, 2.5};
    Failure failure{"model_error", text};
    UtcTime deadline{1771840801250};
    Usage usage{1, 44, 28, 0.0001};
    return {
        ExecutionCreated{
            agent, "coder", 3, ref('a'), plan, "default", {{"k", text}, {"é", "v"}}, root, parent},
        CancelRequested{text},
        OutcomeDecided{Outcome::kFailed, failure, ref('b')},
        EffectLost{"llm_call", 4},
        ExecutionStarted{deadline},
        IterationStarted{deadline, ref('c')},
        SandboxStarted{"docker", "0123456789ab", 170},
        LlmCallStarted{5, 1, 2, "request-1", "reasoning", ref('d'), {}},
        LlmCallCompleted{5, ref('e'), 2, usage, "gpt", "gpt-4o", "tool_calls", 900},
        LlmCallFailed{5, failure, 12},
        ToolCallStarted{6, 1, 2, 3, "cmd.run", text, "dispatch-1", true},
        ToolCallCompleted{6, "cmd.run", text, false, -1, text, ref('f'), 31},
        ToolCallDenied{6, 1, 2, 3, "fs.write", text, text, ref('0')},
        EgressDecided{true, "api.github.com", 443, text, 123},
        EgressDecided{false, "169.254.169.254", 80, text, 0},
        OutputAppended{"model", text},
        IterationCompleted{137, failure, ref('1'), ref('2'), ref('3'), ref('4')},
        ValidationCompleted{
            {{"exit_code", true, 1, 1, ""}, {"json_schema", false, 0.25, 0.5, text}},
            0.25,
            true,
            ref('5')},
        IterationRefining{ref('6')},
        BudgetExceeded{text, ""},
        VolumeAttached{volume, "workspace", "/workspace"},
        VolumeDetached{volume},
        VolumeQuotaExceeded{volume, "workspace"},
        ExecutionResumed{},
        ExecutionCompleted{2, 5200},
        ExecutionFailed{2, 5200, failure},
        ExecutionCancelled{2, 5200},
        // Budgets came later: version 1 with fields that may be absent.
        ExecutionCreated{agent, "coder", 3, ref('a'), with_budget, "default", {}, {}, {}},
        LlmCallStarted{5, 1, 2, "request-1", "reasoning", ref('d'), Reservation{500, 0.01}},
        BudgetExceeded{"tokens", text},
        // So did other APIs' formats.
        LlmCallStarted{1, 0, 0, "request-2", "default", ref('d'), {}, "openai"},
    };
}

Event event(EventData data) {
    Event e{1, {1771840800000}, 2, 0, 3, {}};
    e.data = std::move(data);
    return e;
}

std::string encoded(const Event& e) { return json::dump(encodeData(e)); }

Event roundTrip(const Event& e) {
    auto value = json::parse(encoded(e));
    EXPECT_TRUE(value) << encoded(e);
    auto data = decodeData(typeName(e), encodingVersion(e), *value);
    EXPECT_TRUE(data) << (data ? "" : data.error().message);
    return event(data ? *data : EventData{});
}

TEST(Codec, EveryTypeReadsBackWhole) {
    std::set<std::size_t> seen;
    for (const auto& data : samples(kOdd)) {
        seen.insert(data.index());
        Event e = event(data);
        EXPECT_EQ(encoded(roundTrip(e)), encoded(e));
        EXPECT_EQ(typeName(roundTrip(e)), typeName(e));
    }
    EXPECT_EQ(seen.size(), std::variant_size_v<EventData>) << "a type has no sample";
}

TEST(Codec, TheTextIsThatOfTheValue) {
    auto execution = id<ExecutionId>("c1b2c3d4-0000-4000-8000-000000000003");
    auto agent = id<AgentId>("a1b2c3d4-0000-4000-8000-000000000001");
    const std::string cut = std::string(10'000, 'x') + "\xf0\x9f\x99\x82";
    for (const auto& text : {std::string(kOdd), std::string(), std::string("\xff \xc3"),
                             std::string(2 * kMaxEventBytes, 'y'), cut}) {
        for (const auto& data : samples(text)) {
            Event e = event(data);
            EXPECT_EQ(encodeText(e), encoded(e));
            EXPECT_EQ(toText(e, execution, agent), json::dump(toJson(e, execution, agent)));
            e.iteration = e.sandbox = 0;
            e.candidate = 7;
            EXPECT_EQ(toText(e, execution, agent), json::dump(toJson(e, execution, agent)));
        }
    }
}

TEST(Codec, FieldsKeepTheirValues) {
    auto all = samples(kOdd);
    auto created = std::get<ExecutionCreated>(roundTrip(event(all[0])).data);
    auto expected = std::get<ExecutionCreated>(all[0]);
    EXPECT_EQ(created.agent_id, expected.agent_id);
    EXPECT_EQ(created.plan, expected.plan);
    EXPECT_EQ(created.labels, expected.labels);
    EXPECT_EQ(created.input, expected.input);
    EXPECT_EQ(created.root, expected.root);
    EXPECT_EQ(created.parent, expected.parent);
    EXPECT_EQ(std::get<OutcomeDecided>(roundTrip(event(all[2])).data),
              std::get<OutcomeDecided>(all[2]));
    auto tool = std::get<ToolCallCompleted>(roundTrip(event(all[11])).data);
    EXPECT_EQ(tool.exit_code, std::optional<int>(-1));
    EXPECT_EQ(tool.summary, kOdd);
    auto validation = std::get<ValidationCompleted>(roundTrip(event(all[17])).data);
    EXPECT_EQ(validation.results, std::get<ValidationCompleted>(all[17]).results);
    auto llm = std::get<LlmCallCompleted>(roundTrip(event(all[8])).data);
    EXPECT_EQ(llm.usage, std::get<LlmCallCompleted>(all[8]).usage);
    auto iteration = std::get<IterationCompleted>(roundTrip(event(IterationCompleted{})).data);
    EXPECT_EQ(iteration.exit_code, std::nullopt);
    EXPECT_TRUE(iteration.failure.code.empty());
}

TEST(Codec, DefaultsReadBack) {
    for (const auto& sample : samples("x")) {
        EventData data = sample;
        std::visit([](auto& d) { d = {}; }, data);
        EXPECT_EQ(encoded(roundTrip(event(data))), encoded(event(data)));
    }
}

// The encodings that were shipped as version 1. This file is never rewritten, only appended to.
TEST(Codec, ShippedEncodingsOfVersion1) {
    const std::string path = AEGIS_SOURCE_DIR "/src/execution/testdata/events_v1.json";
    if (std::getenv("AEGIS_ACCEPT") != nullptr) {
        json::Array out;
        for (const auto& data : samples(kOdd)) {
            Event e = event(data);
            json::Object entry;
            entry["type"] = std::string(typeName(e));
            entry["data"] = encodeData(e);
            out.push_back(std::move(entry));
        }
        std::ofstream(path) << json::dumpPretty(out) << '\n';
    }
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    auto golden = json::parse(text.str());
    ASSERT_TRUE(golden) << path;
    auto all = samples(kOdd);
    ASSERT_EQ(golden->as_array().size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto& entry = golden->as_array()[i];
        const auto& stored = *json::find(entry, "data");
        auto data = decodeData(json::getString(entry, "type"), 1, stored);
        ASSERT_TRUE(data) << data.error().message;
        EXPECT_EQ(encoded(event(*data)), encoded(event(all[i])));
        EXPECT_EQ(encoded(event(all[i])), json::dump(stored));
    }
}

TEST(Codec, NothingIsLargerThanAnEventMayBe) {
    std::mt19937 random(7);
    for (std::string piece : {"x", "\x01", "🙂", "é\"", "\xff", "漢字\n"}) {
        std::string text;
        while (text.size() < 20'000)
            text += piece;
        for (std::size_t length : {1000UL, 4090UL, 4096UL, 20'000UL - random() % 8}) {
            for (const auto& data : samples(text.substr(0, length))) {
                Event e = event(data);
                EXPECT_LE(encoded(e).size(), kMaxEventBytes);
                EXPECT_TRUE(json::isUtf8(encoded(e)));
                EXPECT_TRUE(encoded(roundTrip(e)) == encoded(e)) << typeName(e);
            }
        }
    }
}

TEST(Codec, LongTextsAreCutToFillTheEvent) {
    Event e = event(OutputAppended{"model", std::string(10'000, 'x')});
    EXPECT_EQ(encoded(e).size(), kMaxEventBytes);
    e = event(LlmCallFailed{1, {"model_error", std::string(5000, 'x')}, 0});
    EXPECT_EQ(std::get<LlmCallFailed>(roundTrip(e).data).failure.message.size(), kMaxMessageBytes);
    e = event(ToolCallStarted{1, 0, 0, 0, "t", std::string(5000, 'x'), "", false});
    EXPECT_EQ(std::get<ToolCallStarted>(roundTrip(e).data).summary.size(), kMaxSummaryBytes);
}

TEST(Codec, AbsurdListsAndNamesFitToo) {
    ExecutionCreated created = std::get<ExecutionCreated>(samples("x")[0]);
    for (int i = 0; i < 5000; ++i)
        created.labels["label-" + std::to_string(i)] = "v";
    created.labels[std::string(9000, 'k')] = "v";
    created.labels["sha256"] = std::string(9000, 'v');
    Event e = event(created);
    EXPECT_LE(encoded(e).size(), kMaxEventBytes);
    EXPECT_EQ(std::get<ExecutionCreated>(roundTrip(e).data).agent_id, created.agent_id);

    ValidationCompleted validation;
    validation.results.assign(3000, {"regex", false, 0, 1, "detail"});
    EXPECT_LE(encoded(event(validation)).size(), kMaxEventBytes);

    LlmCallStarted llm{1, 0, 0, std::string(9000, 'r'), std::string(9000, 'a'), ref('a')};
    e = event(llm);
    EXPECT_LE(encoded(e).size(), kMaxEventBytes);
    EXPECT_EQ(std::get<LlmCallStarted>(roundTrip(e).data).prompt, llm.prompt);
    EXPECT_LE(encoded(event(IterationRefining{{std::string(9000, 'a'), 1}})).size(),
              kMaxEventBytes);
}

TEST(Codec, NumbersAtTheirLimits) {
    LlmCallCompleted llm;
    llm.call = std::numeric_limits<int>::max();
    llm.duration_ms = std::numeric_limits<std::int64_t>::min();
    llm.usage.prompt_tokens = std::numeric_limits<std::uint64_t>::max();
    llm.usage.cost_usd = 1e-300;
    auto back = std::get<LlmCallCompleted>(roundTrip(event(llm)).data);
    EXPECT_EQ(back.call, llm.call);
    EXPECT_EQ(back.duration_ms, llm.duration_ms);
    EXPECT_EQ(back.usage, llm.usage);
    llm.usage.cost_usd = std::nan("");
    EXPECT_EQ(std::get<LlmCallCompleted>(roundTrip(event(llm)).data).usage.cost_usd, 0);
}

TEST(Codec, RefusesWhatItDoesNotKnow) {
    auto code = [](std::string_view type, int version, std::string_view text) {
        auto result = decodeData(type, version, *json::parse(text));
        return result ? std::string("ok") : std::string(errorTraits(result.error().code).name);
    };
    auto name = [](ErrorCode c) { return std::string(errorTraits(c).name); };
    EXPECT_EQ(code("ExecutionResumed", 1, "{}"), "ok");
    EXPECT_EQ(code("ExecutionResumed", 2, "{}"), name(ErrorCode::kUnsupported));
    EXPECT_EQ(code("EgressDecided", 1, "{}"), name(ErrorCode::kUnsupported));
    EXPECT_EQ(code("Nonsense", 1, "{}"), name(ErrorCode::kUnsupported));
    for (const char* bad : {"[]", "null", "{}", R"({"iterations":"2","duration_ms":1})",
                            R"({"iterations":99999999999,"duration_ms":1})",
                            R"({"iterations":1.5,"duration_ms":1})"}) {
        EXPECT_EQ(code("ExecutionCompleted", 1, bad), name(ErrorCode::kInvalid)) << bad;
    }
    EXPECT_EQ(code("VolumeDetached", 1, R"({"volume_id":"x"})"), name(ErrorCode::kInvalid));
    EXPECT_EQ(code("ExecutionStarted", 1, R"({"deadline":"soon"})"), name(ErrorCode::kInvalid));
    auto long_digest = R"({"error_text":{"size":1,"sha256":")" + std::string(65, 'a') + R"("}})";
    EXPECT_EQ(code("IterationRefining", 1, long_digest), name(ErrorCode::kInvalid));
    EXPECT_EQ(code("OutcomeDecided", 1, R"({"outcome":"fine"})"), name(ErrorCode::kInvalid));
}

TEST(Codec, EnvelopeAsTheApiShowsIt) {
    Event e = event(ExecutionCompleted{1, 5200});
    e.seq = 9;
    auto execution = id<ExecutionId>("c1b2c3d4-0000-4000-8000-000000000003");
    auto agent = id<AgentId>("a1b2c3d4-0000-4000-8000-000000000001");
    EXPECT_EQ(json::dump(toJson(e, execution, agent)),
              R"({"seq":9,"time":"2026-02-23T10:00:00.000Z",)"
              R"("execution_id":"c1b2c3d4-0000-4000-8000-000000000003",)"
              R"("agent_id":"a1b2c3d4-0000-4000-8000-000000000001","type":"ExecutionCompleted",)"
              R"("iteration":2,"sandbox":3,"data":{"iterations":1,"duration_ms":5200}})");
}

TEST(Codec, DurabilityClasses) {
    EXPECT_EQ(durabilityOf(event(ExecutionCreated{})), Durability::kBeforeEffect);
    EXPECT_EQ(durabilityOf(event(CancelRequested{})), Durability::kBeforeEffect);
    ToolCallStarted tool;
    EXPECT_EQ(durabilityOf(event(tool)), Durability::kSoon);
    tool.barrier = true;
    EXPECT_EQ(durabilityOf(event(tool)), Durability::kBeforeEffect);
    EXPECT_EQ(durabilityOf(event(LlmCallStarted{})), Durability::kBeforeEffect);
    EXPECT_EQ(durabilityOf(event(LlmCallCompleted{})), Durability::kBeforeRelease);
    EXPECT_EQ(durabilityOf(event(ExecutionFailed{})), Durability::kBeforeRelease);
    EXPECT_EQ(durabilityOf(event(OutcomeDecided{})), Durability::kBeforeRelease);
    EXPECT_EQ(durabilityOf(event(SandboxStarted{})), Durability::kSoon);
    EXPECT_EQ(durabilityOf(event(IterationCompleted{})), Durability::kSoon);
    EXPECT_EQ(durabilityOf(event(ValidationCompleted{})), Durability::kSoon);
    EXPECT_EQ(durabilityOf(event(OutputAppended{})), Durability::kCoalesced);
}

TEST(Codec, UsageAddsUp) {
    Usage usage{1, 2, 3, 0.5};
    usage.add({10, 20, 30, 0.25});
    EXPECT_EQ(usage, (Usage{11, 22, 33, 0.75}));
}

}  // namespace
}  // namespace aegis::execution
