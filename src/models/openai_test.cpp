#include "models/openai.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/reader_test_util.h"

namespace aegis::models {
namespace {

using namespace test;

ProviderSettings plain() {
    ProviderSettings settings;
    settings.name = "gpt";
    settings.model = "gpt-4o";
    settings.api_key = Secret("sk-test");
    return settings;
}

ports::ModelRequest twoTurns() {
    ports::ModelRequest request;
    request.messages = {
        message(ports::Message::Role::kSystem, "be good"),
        message(ports::Message::Role::kUser, "a \"b\"\n\xc3\xa9 \xff"),
        message(ports::Message::Role::kAssistant, ""),
        message(ports::Message::Role::kTool, "done"),
        message(ports::Message::Role::kAssistant, "ok"),
    };
    request.messages[2].tool_calls = {{"call_1", "fs.write", "{\"path\":1}"},
                                      {"call_2", "odd name", "not json"}};
    request.messages[3].tool_call_id = "call_1";
    request.tools = {{"fs.write", "Writes", json::Value{{"type", "object"}}},
                     {"bare", "", json::Value(nullptr)}};
    return request;
}

TEST(OpenAiEncode, WholeConversation) {
    WireRequest wire = OpenAiDialect(plain()).encode(twoTurns());
    EXPECT_EQ(wire.url, "https://api.openai.com/v1/chat/completions");
    std::string odd = WireNames(wire.tools).toWire("odd name");
    EXPECT_EQ(
        *wire.body,
        R"({"model":"gpt-4o","messages":[{"role":"system","content":"be good"},)"
        R"({"role":"user","content":"a \"b\"\n)"
        "\xc3\xa9 \xef\xbf\xbd"
        R"("},{"role":"assistant","content":null,"tool_calls":[)"
        R"({"id":"call_1","type":"function","function":{"name":"fs_write","arguments":"{\"path\":1}"}},)"
        R"({"id":"call_2","type":"function","function":{"name":")" +
            odd +
            R"(","arguments":"not json"}}]},)"
            R"({"role":"tool","tool_call_id":"call_1","content":"done"},)"
            R"({"role":"assistant","content":"ok"}],"tools":[)"
            R"({"type":"function","function":{"name":"fs_write","description":"Writes",)"
            R"("parameters":{"type":"object"}}},)"
            R"({"type":"function","function":{"name":"bare","description":"",)"
            R"("parameters":{"type":"object","properties":{}}}}],)"
            R"("stream":true,"stream_options":{"include_usage":true}})");
    ASSERT_EQ(wire.secret_headers.size(), 1U);
    EXPECT_EQ(wire.secret_headers[0].first, "Authorization");
    EXPECT_EQ(wire.secret_headers[0].second.reveal(), "Bearer sk-test");
}

TEST(OpenAiEncode, LimitsAndTemperatureOnlyIfConfigured) {
    ports::ModelRequest request;
    request.messages = {message(ports::Message::Role::kUser, "hi")};
    auto body = [&](const ProviderSettings& s) { return *OpenAiDialect(s).encode(request).body; };
    ProviderSettings settings = plain();
    EXPECT_FALSE(body(settings).contains("max_"));
    EXPECT_FALSE(body(settings).contains("temperature"));
    settings.max_tokens = 10;
    settings.temperature = 0.2;
    EXPECT_TRUE(body(settings).contains(R"("temperature":0.2,"max_completion_tokens":10)"));
    settings.base_url = "http://host/v1/";
    EXPECT_TRUE(body(settings).contains(R"("max_tokens":10)"));
    EXPECT_EQ(OpenAiDialect(settings).encode(request).url, "http://host/v1/chat/completions");
    settings.max_tokens_field = "limit";
    EXPECT_TRUE(body(settings).contains(R"("limit":10)"));
    request.temperature = 1;
    request.max_tokens = 7;
    EXPECT_TRUE(body(settings).contains(R"("temperature":1,"limit":7)"));
}

TEST(OpenAiEncode, WhatAClientOfAnAgentMayAskFor) {
    using Kind = ports::ToolChoice::Kind;
    ports::ModelRequest request;
    request.tools = {{"f", "", json::Value{{"type", "object"}}, true}};
    auto rest = [&] {
        auto body = *OpenAiDialect(plain()).encode(request).body;
        return body.substr(body.find(R"(,"strict")"));
    };
    const std::string end = R"(,"stream":true,"stream_options":{"include_usage":true}})";
    EXPECT_EQ(rest(), R"(,"strict":true}}])" + end);
    request.parallel_tool_calls = false;
    request.tool_choice = ports::ToolChoice{Kind::kOne, "f"};
    EXPECT_EQ(rest(), R"(,"strict":true}}],"tool_choice":{"type":"function","function":)"
                      R"({"name":"f"}},"parallel_tool_calls":false)" +
                          end);
    request.parallel_tool_calls = true;
    request.tool_choice = ports::ToolChoice{Kind::kAny, ""};
    request.top_p = 0.5;
    request.stop = {"a"};
    EXPECT_EQ(rest(), R"(,"strict":true}}],"tool_choice":"required","top_p":0.5,"stop":["a"])" +
                          end);
    request.messages = {message(ports::Message::Role::kTool, "no")};
    request.messages[0].is_error = true;
    EXPECT_TRUE(
        OpenAiDialect(plain()).encode(request).body->contains(R"("content":"Error: no")"));
}

TEST(OpenAiEncode, AzureHasAVersionAndItsOwnKeyHeader) {
    ProviderSettings settings = plain();
    settings.base_url = "https://x.example/openai/deployments/d";
    settings.api_version = "2024-10-21";
    WireRequest wire = OpenAiDialect(settings).encode({});
    EXPECT_EQ(wire.url,
              "https://x.example/openai/deployments/d/chat/completions?api-version=2024-10-21");
    EXPECT_EQ(wire.secret_headers.at(0).first, "api-key");
    settings.api_key = Secret();
    EXPECT_TRUE(OpenAiDialect(settings).encode({}).secret_headers.empty());
}

std::string event(std::string_view data) { return fmt::format("data: {}\n\n", data); }
std::string deltaEvent(std::string_view delta) {
    return event(fmt::format(R"({{"id":"x","model":"gpt-4o-1","new_field":[1],"choices":[)"
                             R"({{"index":0,"delta":{},"finish_reason":null}}]}})",
                             delta));
}
const std::string kStop = event(R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})");
const std::string kUsage =
    event(R"({"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}})");
const std::string kDone = event("[DONE]");

Reading readAll(std::string_view body, std::size_t piece = SIZE_MAX, ProviderSettings s = plain()) {
    WireNames names;
    names.add({"fs.write", "cmd.run"});
    return readWith(*OpenAiDialect(std::move(s)).reader(names), body, piece);
}

std::string toolStream() {
    return ": comment\r\n\r\n" + deltaEvent(R"({"role":"assistant","content":""})") +
           deltaEvent(R"({"content":"Hé"})") + deltaEvent(R"({"content":"llo"})") +
           deltaEvent(R"({"tool_calls":[{"index":0,"id":"c1","type":"function",)"
                      R"("function":{"name":"fs_write","arguments":""}}]})") +
           deltaEvent(R"({"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]})") +
           deltaEvent(R"({"tool_calls":[{"index":1,"id":"c2","function":{"name":"cmd_run"}}]})") +
           deltaEvent(R"({"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]})") + kStop +
           kUsage + kDone;
}

TEST(OpenAiRead, StreamWithTextAndInterleavedToolCalls) {
    Reading reading = readAll(toolStream());
    ASSERT_TRUE(reading.answer) << reading.answer.error().message;
    EXPECT_EQ(reading.answer->content, "Héllo");
    EXPECT_EQ(reading.deltas, (std::vector<std::string>{"Hé", "llo"}));
    EXPECT_EQ(calls(*reading.answer), "c1 fs.write {\"a\":1}\nc2 cmd.run {}\n");
    EXPECT_EQ(reading.answer->usage.prompt_tokens, 7U);
    EXPECT_EQ(reading.answer->usage.completion_tokens, 3U);
    EXPECT_EQ(reading.answer->usage.calls, 1U);
    EXPECT_EQ(reading.answer->model, "gpt-4o-1");
    EXPECT_EQ(reading.answer->finish_reason, "stop");
}

TEST(OpenAiRead, PiecesOfAnySizeGiveTheSame) {
    std::string whole = describe(readAll(toolStream()));
    for (std::size_t piece = 1; piece < 40; ++piece)
        ASSERT_EQ(describe(readAll(toolStream(), piece)), whole) << piece;
}

TEST(OpenAiRead, CutAtEveryByteIsAnErrorOrTheSameAnswer) {
    std::string document =
        R"({"choices":[{"message":{"content":"hi","tool_calls":null},"finish_reason":"stop"}]})";
    for (const std::string& body : {toolStream(), document}) {
        std::string whole = describe(readAll(body));
        std::size_t errors = 0;
        for (std::size_t cut = 0; cut < body.size(); ++cut) {
            Reading reading = readAll(std::string_view(body).substr(0, cut));
            if (reading.answer) {
                ASSERT_EQ(describe(reading), whole) << cut;
            } else {
                ++errors;
                ASSERT_EQ(reading.fault, Fault::kCut) << cut << reading.answer.error().message;
            }
        }
        EXPECT_GE(errors, body.size() - 2);
    }
}

TEST(OpenAiRead, DocumentWithoutAStream) {
    Reading reading = readAll(
        R"( {"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi",)"
        R"("tool_calls":[{"id":"a","type":"function","function":{"name":"fs_write","arguments":"{}"}},)"
        R"({"id":"","function":{"name":"x","arguments":"no json"}}]},"finish_reason":"tool_calls"}],)"
        R"("usage":{"prompt_tokens":1,"completion_tokens":2}})");
    ASSERT_TRUE(reading.answer) << reading.answer.error().message;
    EXPECT_EQ(reading.deltas, std::vector<std::string>{"hi"});
    EXPECT_EQ(calls(*reading.answer), "a fs.write {}\ncall_1 x no json\n");
}

TEST(OpenAiRead, ServersWithoutIndexesOrWithAllZero) {
    Reading reading = readAll(
        deltaEvent(R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"x"}},)"
                   R"({"index":0,"id":"b","function":{"name":"y"}}]})") +
        deltaEvent(R"({"tool_calls":[{"id":"c","function":{"name":"z"}}]})") + kStop + kDone);
    ASSERT_TRUE(reading.answer) << reading.answer.error().message;
    EXPECT_EQ(calls(*reading.answer), "a x {}\nb y {}\nc z {}\n");
}

struct Bad {
    std::string body;
    Fault fault;
    std::string message;
};

TEST(OpenAiRead, WhatMakesNoSenseIsAnError) {
    auto tool = [](std::string_view call) {
        return deltaEvent(fmt::format(R"({{"tool_calls":[{}]}})", call));
    };
    const std::vector<Bad> table{
        {"", Fault::kCut, "ended before it was complete"},
        {"\n\n", Fault::kCut, "ended before it was complete"},
        {"<html>no</html>", Fault::kNonsense, "neither a stream of events nor JSON"},
        {"{}", Fault::kNonsense, "choices is missing"},
        {R"({"choices":)", Fault::kCut, "ends too early"},
        {R"({"choices":[]})", Fault::kNonsense, "choices is empty"},
        {R"({"choices":{}})", Fault::kNonsense, "choices is no array"},
        {R"({"choices":[1]})", Fault::kNonsense, "a choice is no object"},
        {R"({"choices":[{}]})", Fault::kNonsense, "message is missing"},
        {R"({"choices":[{"message":{"content":1}}]})", Fault::kNonsense, "content is no string"},
        {R"({"choices":[{"message":{"content":""}}]})", Fault::kNonsense,
         "finish_reason is missing"},
        {R"({"choices":[{},{}]})", Fault::kNonsense, "more than the one choice"},
        {event("{\"choices\":[{"), Fault::kNonsense, "not valid JSON"},
        {event("[]"), Fault::kNonsense, "not a JSON object"},
        {event("{}"), Fault::kNonsense, "choices is missing"},
        {event("garbage"), Fault::kNonsense, "not valid JSON"},
        {kDone, Fault::kNonsense, "without a finish_reason"},
        {kStop, Fault::kCut, "ended before it was complete"},
        {kStop + deltaEvent(R"({"content":"x"})"), Fault::kNonsense,
         "text after the finish_reason"},
        {deltaEvent("1"), Fault::kNonsense, "delta is no object"},
        {deltaEvent(R"({"tool_calls":{}})"), Fault::kNonsense, "tool_calls is no array"},
        {tool("1"), Fault::kNonsense, "a tool call is no object"},
        {tool(R"({"index":0,"function":1})"), Fault::kNonsense, "function is no object"},
        {tool(R"({"index":-1,"function":{"name":"x"}})"), Fault::kNonsense, "index is no number"},
        {tool(R"({"index":"0","function":{"name":"x"}})"), Fault::kNonsense, "index is no number"},
        {tool(R"({"id":"a"})"), Fault::kNonsense, "neither index nor name"},
        {tool(R"({"index":0,"id":"a","function":{"arguments":{}}})"), Fault::kNonsense,
         "arguments is no string"},
        {tool(R"({"index":0,"id":"a"})") + kStop + kDone, Fault::kNonsense, "has no name"},
        {tool(R"({"index":0,"id":"a","function":{"name":"x"}})") +
             tool(R"({"index":0,"function":{"name":"y"}})"),
         Fault::kNonsense, "two names"},
        {tool(R"({"index":0,"id":"a","function":{"name":"x"}})") +
             tool(R"({"index":1,"id":"a","function":{"name":"y"}})") + kStop + kDone,
         Fault::kNonsense, "the same id"},
        {tool(R"({"index":1024,"id":"a","function":{"name":"x"}})"), Fault::kTooLarge,
         "more than 1024 tool calls"},
        {event(R"({"error":{"message":"too\nbusy","type":"server_error"}})"), Fault::kOverloaded,
         "reports an error in its answer: too\\nbusy"},
        {event(R"({"error":{"message":"bad","type":"invalid_request_error"}})"), Fault::kRefused,
         "bad"},
        {event(R"({"error":"plain"})"), Fault::kOverloaded, "plain"},
    };
    for (const Bad& bad : table) {
        Reading reading = readAll(bad.body);
        ASSERT_FALSE(reading.answer) << bad.body;
        EXPECT_EQ(reading.fault, bad.fault) << bad.body << reading.answer.error().message;
        EXPECT_TRUE(reading.answer.error().message.contains(bad.message))
            << bad.body << ": " << reading.answer.error().message;
        EXPECT_FALSE(reading.answer.error().message.contains('\n'));
    }
}

TEST(OpenAiRead, TenThousandToolCallsAreRefused) {
    std::string body = R"({"choices":[{"finish_reason":"stop","message":{"tool_calls":[)";
    for (int i = 0; i < 10'000; ++i)
        body += fmt::format(R"({}{{"id":"c{}","function":{{"name":"x"}}}})", i > 0 ? "," : "", i);
    Reading reading = readAll(body + "]}}]}");
    ASSERT_FALSE(reading.answer);
    EXPECT_EQ(reading.answer.error().message, "the answer has more than 1024 tool calls");
}

TEST(OpenAiRead, AnswersBeyondTheLimitAreRefusedWhereverTheyAre) {
    ProviderSettings small = plain();
    small.max_response_bytes = 1000;
    std::string chunk = deltaEvent(fmt::format(R"({{"content":"{}"}})", std::string(100, 'x')));
    std::string ten;
    for (int i = 0; i < 10; ++i)
        ten += chunk;
    EXPECT_TRUE(readAll(ten + kStop + kDone, SIZE_MAX, small).answer);
    std::string arguments = deltaEvent(
        R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"1234"}}]})");
    for (const std::string& body :
         {ten + chunk, ten + arguments, "data: " + std::string(70'000, 'x'),
          "{\"choices\": \"" + std::string(70'000, 'x'), std::string(70'000, 'x')}) {
        Reading reading = readAll(body, 4096, small);
        ASSERT_FALSE(reading.answer);
        EXPECT_EQ(reading.answer.error().code, ErrorCode::kTooLarge);
        EXPECT_EQ(reading.fault, Fault::kTooLarge);
    }
}

TEST(ProviderMessage, FindsTheTextAndEscapesIt) {
    EXPECT_EQ(providerMessage(R"({"error":{"message":"a\u001bb\n"}})"), "a\\x1bb\\n");
    EXPECT_EQ(providerMessage(R"({"error":"plain"})"), "plain");
    EXPECT_EQ(providerMessage(R"({"object":"error","message":"m"})"), "m");
    EXPECT_EQ(providerMessage(R"({"detail":"d"})"), "d");
    EXPECT_EQ(providerMessage(" upstream gone\n"), "upstream gone");
    EXPECT_EQ(providerMessage("<html>"), "");
    EXPECT_EQ(providerMessage(""), "");
    EXPECT_EQ(oneLine(std::string(400, 'x')).size(), 300U);
    EXPECT_EQ(oneLine("aéééé", 6), "aé...");
}

}  // namespace
}  // namespace aegis::models
