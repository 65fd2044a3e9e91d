#include "models/anthropic.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/reader_test_util.h"

namespace aegis::models {
namespace {

using namespace test;
using Role = ports::Message::Role;

ProviderSettings claude() {
    ProviderSettings settings;
    settings.name = "claude";
    settings.model = "claude-sonnet-4-5";
    settings.api_key = Secret("sk-ant");
    return settings;
}

TEST(AnthropicEncode, WholeConversation) {
    ports::ModelRequest request;
    request.messages = {message(Role::kSystem, "be good"),  message(Role::kUser, "hi"),
                        message(Role::kAssistant, "on it"), message(Role::kTool, "one"),
                        message(Role::kTool, ""),           message(Role::kAssistant, "")};
    request.messages[2].tool_calls = {{"call:1", "fs.write", "{\"a\":1}"}, {"b", "x", "no json"}};
    request.messages[3].tool_call_id = "call:1";
    request.messages[4].tool_call_id = "b";
    request.tools = {{"fs.write", "Writes", json::Value{{"type", "object"}}}};
    request.temperature = 0.5;
    WireRequest wire = AnthropicDialect(claude()).encode(request);
    EXPECT_EQ(wire.url, "https://api.anthropic.com/v1/messages");
    EXPECT_EQ(
        *wire.body,
        R"({"model":"claude-sonnet-4-5","max_tokens":4096,"system":[{"type":"text","text":"be good"}],)"
        R"("messages":[{"role":"user","content":[{"type":"text","text":"hi"}]},)"
        R"({"role":"assistant","content":[{"type":"text","text":"on it"},)"
        R"({"type":"tool_use","id":"call_1","name":"fs_write","input":{"a":1}},)"
        R"({"type":"tool_use","id":"b","name":"x","input":{"invalid_arguments":"no json"}}]},)"
        R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"one"},)"
        R"({"type":"tool_result","tool_use_id":"b","content":""}]}],)"
        R"("tools":[{"name":"fs_write","description":"Writes","input_schema":{"type":"object"}}],)"
        R"("temperature":0.5,"stream":true})");
    EXPECT_EQ(wire.secret_headers.at(0).first, "x-api-key");
    EXPECT_EQ(wire.headers.at(2).second, "2023-06-01");
}

TEST(AnthropicEncode, ConfiguredLimitAndBaseUrl) {
    ProviderSettings settings = claude();
    settings.max_tokens = 9;
    settings.base_url = "http://host/";
    WireRequest wire = AnthropicDialect(settings).encode({});
    EXPECT_TRUE(wire.body->contains(R"("max_tokens":9,"messages":[])"));
    EXPECT_EQ(wire.url, "http://host/v1/messages");
}

/// What a request's body says from its tools on.
std::string rest(const ports::ModelRequest& request) {
    auto body = *AnthropicDialect(claude()).encode(request).body;
    return body.substr(body.find(R"("tools")"));
}

TEST(AnthropicEncode, WhatAClientOfAnAgentMayAskFor) {
    using Kind = ports::ToolChoice::Kind;
    ports::ModelRequest request;
    request.tools = {{"f", "", json::Value{{"type", "object"}}, true}};
    const std::string tool = R"("tools":[{"name":"f","description":"","input_schema":)"
                             R"({"type":"object"}}])";
    EXPECT_EQ(rest(request), tool + R"(,"stream":true})");
    request.parallel_tool_calls = false;
    EXPECT_EQ(rest(request), tool + R"(,"tool_choice":{"type":"auto",)"
                                    R"("disable_parallel_tool_use":true},"stream":true})");
    request.tool_choice = ports::ToolChoice{Kind::kOne, "f"};
    EXPECT_EQ(rest(request), tool + R"(,"tool_choice":{"type":"tool","name":"f",)"
                                    R"("disable_parallel_tool_use":true},"stream":true})");
    request.tool_choice = ports::ToolChoice{Kind::kNone, ""};
    request.top_p = 0.5;
    request.stop = {"a\"b"};
    EXPECT_EQ(rest(request), tool + R"(,"tool_choice":{"type":"none"},"top_p":0.5,)"
                                    R"("stop_sequences":["a\"b"],"stream":true})");
    request.messages = {message(Role::kTool, "no")};
    request.messages[0].is_error = true;
    EXPECT_TRUE(AnthropicDialect(claude()).encode(request).body->contains(R"("is_error":true)"));
}

std::string event(std::string_view data) {
    auto value = json::parse(data);
    return fmt::format("event: {}\ndata: {}\n\n", json::getString(*value, "type"), data);
}

std::string whole() {
    return event(R"({"type":"message_start","message":{"model":"claude-x","usage":)"
                 R"({"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":1}}})") +
           event(
               R"({"type":"content_block_start","index":0,"content_block":{"type":"thinking"}})") +
           event(R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta"}})") +
           event(R"({"type":"content_block_stop","index":0})") + event(R"({"type":"ping"})") +
           event(
               R"({"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}})") +
           event(
               R"({"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hé"}})") +
           event(
               R"({"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"y"}})") +
           event(R"({"type":"content_block_stop","index":1})") +
           event(R"({"type":"content_block_start","index":2,"content_block":)"
                 R"({"type":"tool_use","id":"t1","name":"fs_write","input":{}}})") +
           event(
               R"({"type":"content_block_delta","index":2,)"
               R"("delta":{"type":"input_json_delta","partial_json":"{\"a\""}})") +
           event(
               R"({"type":"content_block_delta","index":2,)"
               R"("delta":{"type":"input_json_delta","partial_json":":1}"}})") +
           event(R"({"type":"content_block_stop","index":2})") + event(R"({"type":"brand_new"})") +
           event(
               R"({"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}})") +
           event(R"({"type":"message_stop"})");
}

Reading read(std::string_view body, std::size_t piece = SIZE_MAX) {
    WireNames names;
    names.add({"fs.write"});
    return readWith(*AnthropicDialect(claude()).reader(names), body, piece);
}

TEST(AnthropicRead, StreamInPiecesOfAnySize) {
    Reading reading = read(whole());
    ASSERT_TRUE(reading.answer) << reading.answer.error().message;
    EXPECT_EQ(describe(reading), "Héy\nHéy\nt1 fs.write {\"a\":1}\ntool_use 7 9");
    EXPECT_EQ(reading.answer->model, "claude-x");
    EXPECT_EQ(reading.deltas.size(), 2U);
    for (std::size_t piece = 1; piece < 30; ++piece)
        ASSERT_EQ(describe(read(whole(), piece)), describe(reading)) << piece;
}

TEST(AnthropicRead, CutAtAnyByteIsAnError) {
    std::string body = whole();
    for (std::size_t cut = 0; cut < body.size(); ++cut) {
        Reading reading = read(std::string_view(body).substr(0, cut));
        ASSERT_FALSE(reading.answer) << cut;
        ASSERT_EQ(reading.fault, Fault::kCut) << cut;
    }
}

TEST(AnthropicRead, Document) {
    Reading reading =
        read(R"({"type":"message","model":"m","content":[{"type":"text","text":"hi"},)"
             R"({"type":"tool_use","id":"t","name":"fs_write","input":{"a":1.5}}],)"
             R"("stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}})");
    EXPECT_EQ(describe(reading), "hi\nhi\nt fs.write {\"a\":1.5}\ntool_use 1 2");
    EXPECT_EQ(reading.answer->stop_sequence, "");
    reading = read(R"({"type":"message","model":"m","content":[],"stop_reason":"stop_sequence",)"
                   R"("stop_sequence":"END","usage":{"input_tokens":1,"output_tokens":2}})");
    ASSERT_TRUE(reading.answer);
    EXPECT_EQ(reading.answer->stop_sequence, "END");
}

TEST(AnthropicRead, WhatMakesNoSenseIsAnError) {
    const std::string start = event(R"({"type":"message_start","message":{}})");
    const std::string text = event(
        R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})");
    struct Bad {
        std::string body;
        Fault fault;
        std::string message;
    };
    const std::vector<Bad> table{
        {"data: x\n\n", Fault::kNonsense, "not valid JSON"},
        {"data: 1\n\n", Fault::kNonsense, "not a JSON object"},
        {"data: {}\n\n", Fault::kNonsense, "type is missing"},
        {text, Fault::kNonsense, "before message_start"},
        {start + start, Fault::kNonsense, "second message_start"},
        {start + text + text, Fault::kNonsense, "index is bad or used"},
        {start + event(R"({"type":"content_block_delta","index":0,"delta":{}})"), Fault::kNonsense,
         "for no open block"},
        {start + event(R"({"type":"message_stop"})"), Fault::kNonsense, "without a stop_reason"},
        {start + text + event(R"({"type":"message_stop"})"), Fault::kNonsense, "within a block"},
        {start + event(R"({"type":"message_delta","delta":{"stop_reason":1}})"), Fault::kNonsense,
         "stop_reason is no string"},
        {start + event(R"({"type":"error","error":{"type":"overloaded_error","message":"Busy"}})"),
         Fault::kOverloaded, "Busy"},
        {R"({"type":"error","error":{"type":"invalid_request_error","message":"No"}})",
         Fault::kRefused, "No"},
        {"{}", Fault::kNonsense, "content is missing"},
        {R"({"content":[{"type":"tool_use","id":"a","name":"b"}]})", Fault::kNonsense,
         "input is missing"},
        {R"({"content":[]})", Fault::kNonsense, "stop_reason is missing"},
    };
    for (const Bad& bad : table) {
        Reading reading = read(bad.body);
        ASSERT_FALSE(reading.answer) << bad.body;
        EXPECT_EQ(reading.fault, bad.fault) << bad.body;
        EXPECT_TRUE(reading.answer.error().message.contains(bad.message))
            << bad.body << ": " << reading.answer.error().message;
    }
}

}  // namespace
}  // namespace aegis::models
