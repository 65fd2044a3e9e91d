#include "proto/chat.h"

#include <gtest/gtest.h>

#include <vector>

#include "wire/sse.h"

namespace aegis::proto::chat {
namespace {

constexpr auto kBoth = {Format::kOpenAi, Format::kAnthropic};

/// A body that says what every one must, and more.
std::string openAi(std::string_view more,
                   std::string_view messages = R"([{"role":"user","content":"hi"}])") {
    return std::string(R"({"model":"default","messages":)").append(messages).append(more) + "}";
}
std::string anthropic(std::string_view more,
                      std::string_view messages = R"([{"role":"user","content":"hi"}])") {
    return std::string(R"({"model":"default","max_tokens":10,"messages":)")
               .append(messages)
               .append(more) +
           "}";
}

Request parsed(Format format, const std::string& body) {
    auto request = parseRequest(format, body);
    EXPECT_TRUE(request) << body << ": " << request.error().message;
    return request ? std::move(*request) : Request{};
}
std::string prompt(Format format, const std::string& body) {
    return json::dump(parsed(format, body).prompt);
}

/// The place and the code of a refusal.
std::pair<std::string, ErrorCode> refusal(Format format, const std::string& body) {
    auto request = parseRequest(format, body);
    EXPECT_FALSE(request) << body;
    if (request) return {};
    const auto& details = request.error().details;
    EXPECT_FALSE(request.error().message.empty());
    return {details.empty() ? "" : details.front().path, request.error().code};
}

TEST(Chat, AWholeOpenAiRequest) {
    auto body = openAi(R"(,"tools":[{"type":"function","function":{"name":"add","description":"d",
        "parameters":{"type":"object"},"strict":true}}],"tool_choice":{"type":"function",
        "function":{"name":"add"}},"parallel_tool_calls":false,"temperature":0.5,"top_p":0.9,
        "max_completion_tokens":7,"stop":"END","stream":true,"stream_options":{"include_usage":true},
        "n":1,"user":"u","metadata":{"a":"b"},"logprobs":false,"response_format":{"type":"text"},
        "seed":null)",
                       R"([{"role":"developer","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]},
        {"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[{"id":"c1",
        "type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"2"}])");
    auto request = parsed(Format::kOpenAi, body);
    EXPECT_EQ(request.model, "default");
    EXPECT_TRUE(request.stream);
    EXPECT_TRUE(request.include_usage);
    EXPECT_EQ(
        json::dump(request.prompt),
        R"({"format":"openai","messages":[{"role":"system","content":"be brief"},)"
        R"({"role":"user","content":"one\ntwo"},{"role":"assistant","content":"","tool_calls":)"
        R"([{"id":"c1","name":"add","arguments":"{\"a\":1}"}]},{"role":"tool","content":"2",)"
        R"("tool_call_id":"c1"}],"tool_choice":{"name":"add"},"tools":[{"name":"add",)"
        R"("description":"d","parameters":{"type":"object"},"strict":true}],)"
        R"("parallel_tool_calls":false,"temperature":0.5,"top_p":0.9,"max_tokens":7,)"
        R"("stop":["END"]})");
}

TEST(Chat, AWholeAnthropicRequest) {
    auto body = anthropic(R"(,"system":[{"type":"text","text":"be brief","cache_control":
        {"type":"ephemeral"}}],"tools":[{"name":"add","description":"d","input_schema":
        {"type":"object"}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true},
        "temperature":1,"stop_sequences":["END"],"stream":true,"metadata":{"user_id":"u"},
        "thinking":{"type":"disabled"})",
                          R"([{"role":"user","content":"what"},
        {"role":"assistant","content":[{"type":"text","text":"let me see"},
        {"type":"tool_use","id":"t1","name":"add","input":{"a":1}},
        {"type":"tool_use","id":"t2","name":"add","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t2","is_error":true},
        {"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"2"}]},
        {"type":"text","text":"well?"}]}])");
    auto request = parsed(Format::kAnthropic, body);
    EXPECT_TRUE(request.stream);
    EXPECT_EQ(
        json::dump(request.prompt),
        R"({"format":"anthropic","messages":[{"role":"system","content":"be brief"},)"
        R"({"role":"user","content":"what"},{"role":"assistant","content":"let me see",)"
        R"("tool_calls":[{"id":"t1","name":"add","arguments":"{\"a\":1}"},{"id":"t2",)"
        R"("name":"add","arguments":"{}"}]},{"role":"tool","content":"","tool_call_id":"t2",)"
        R"("is_error":true},{"role":"tool","content":"2","tool_call_id":"t1"},)"
        R"({"role":"user","content":"well?"}],"tool_choice":"required",)"
        R"("parallel_tool_calls":false,"tools":[{"name":"add","description":"d",)"
        R"("parameters":{"type":"object"}}],"temperature":1,"max_tokens":10,"stop":["END"]})");
}

TEST(Chat, HowItIsToldIsNotWhatIsAsked) {
    EXPECT_EQ(prompt(Format::kOpenAi, openAi(R"(,"stream":true,"user":"u")")),
              prompt(Format::kOpenAi, openAi("")))
        << "a client that asks again gets the recorded answer whichever way it wants it";
    EXPECT_NE(prompt(Format::kOpenAi, openAi(R"(,"temperature":1)")),
              prompt(Format::kOpenAi, openAi("")));
}

TEST(Chat, WhatCannotBePassedOnIsRefusedByName) {
    using Case = std::pair<std::string, std::string>;
    for (const auto& [member, path] :
         std::vector<Case>{{R"("n":2)", "n"},
                           {R"("logprobs":true)", "logprobs"},
                           {R"("top_logprobs":3)", "top_logprobs"},
                           {R"("response_format":{"type":"json_object"})", "response_format"},
                           {R"("seed":1)", "seed"},
                           {R"("logit_bias":{"1":2})", "logit_bias"},
                           {R"("presence_penalty":1)", "presence_penalty"},
                           {R"("modalities":["audio"])", "modalities"},
                           {R"("functions":[])", "functions"},
                           {R"("store":true)", "store"},
                           {R"("reasoning_effort":"high")", "reasoning_effort"},
                           {R"("tools":[{"type":"web_search"}])", "tools[0].type"}}) {
        auto expected = std::pair(path, ErrorCode::kUnsupported);
        EXPECT_EQ(refusal(Format::kOpenAi, openAi("," + member)), expected);
    }
    for (const auto& [member, path] : std::vector<Case>{
             {R"("top_k":1)", "top_k"},
             {R"("thinking":{"type":"enabled","budget_tokens":1024})", "thinking"},
             {R"("mcp_servers":[])", "mcp_servers"},
             {R"("tools":[{"type":"bash_20250124","name":"bash"}])", "tools.0.type"}}) {
        auto expected = std::pair(path, ErrorCode::kUnsupported);
        EXPECT_EQ(refusal(Format::kAnthropic, anthropic("," + member)), expected);
    }
    EXPECT_EQ(refusal(Format::kOpenAi,
                      openAi("", R"([{"role":"user","content":[{"type":"image_url","image_url":
                             {"url":"data:"}}]}])")),
              std::pair(std::string("messages[0].content[0].type"), ErrorCode::kUnsupported));
    EXPECT_EQ(
        refusal(Format::kAnthropic,
                anthropic("", R"([{"role":"user","content":[{"type":"image","source":{}}]}])")),
        std::pair(std::string("messages.0.content.0.type"), ErrorCode::kUnsupported));
    EXPECT_EQ(
        refusal(Format::kOpenAi, openAi("", R"([{"role":"user","content":"a","name":"bob"}])")),
        std::pair(std::string("messages[0].name"), ErrorCode::kUnsupported));
    for (auto format : kBoth) {
        const auto* messages =
            R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])";
        auto body = format == Format::kOpenAi ? openAi("", messages) : anthropic("", messages);
        EXPECT_EQ(refusal(format, body),
                  std::pair(std::string("messages"), ErrorCode::kUnsupported));
    }
}

TEST(Chat, WhatIsWrongIsRefusedByName) {
    using Case = std::pair<std::string, std::string>;
    for (const auto& [body, path] : std::vector<Case>{
             {"{}", "model"},
             {R"({"model":"","messages":[]})", "model"},
             {R"({"model":"m"})", "messages"},
             {openAi("", "[]"), "messages"},
             {openAi("", "[1]"), "messages[0]"},
             {openAi("", R"([{"role":"king","content":"x"}])"), "messages[0].role"},
             {openAi("", R"([{"role":"user"}])"), "messages[0].content"},
             {openAi("", R"([{"role":"user","content":1}])"), "messages[0].content"},
             {openAi("", R"([{"role":"tool","content":"x","tool_call_id":"no"}])"), "messages"},
             {openAi(R"(,"temperature":3)"), "temperature"},
             {openAi(R"(,"temperature":"1")"), "temperature"},
             {openAi(R"(,"max_tokens":0)"), "max_tokens"},
             {openAi(R"(,"max_tokens":1,"max_completion_tokens":1)"), "max_tokens"},
             {openAi(R"(,"stop":["a","b","c","d","e"])"), "stop"},
             {openAi(R"(,"stream":1)"), "stream"},
             {openAi(R"(,"stream_options":{})"), "stream_options"},
             {openAi(R"(,"tool_choice":"auto")"), "tool_choice"},
             {openAi(R"(,"tools":[{"type":"function","function":{"name":"a.b"}}])"),
              "tools[0].function.name"},
             {openAi(R"(,"tools":[{"type":"function","function":{"name":"a","parameters":[]}}])"),
              "tools[0].function.parameters"},
             {openAi(R"(,"never_heard_of":1)"), "never_heard_of"}})
        EXPECT_EQ(refusal(Format::kOpenAi, body), std::pair(path, ErrorCode::kInvalid)) << body;
    for (const auto& [body, path] : std::vector<Case>{
             {R"({"model":"m","messages":[{"role":"user","content":"a"}]})", "max_tokens"},
             {anthropic("", R"([{"role":"system","content":"x"}])"), "messages.0.role"},
             {anthropic("", R"([{"role":"assistant","content":"x"}])"), "messages.0.role"},
             {anthropic("", R"([{"role":"user","content":""}])"), "messages.0.content"},
             {anthropic("", R"([{"role":"user","content":[]}])"), "messages.0.content"},
             {anthropic("", R"([{"role":"user","content":[{"type":"tool_use","id":"a","name":"b",
                        "input":{}}]}])"),
              "messages.0.content.0"},
             {anthropic(R"(,"temperature":1.5)"), "temperature"},
             {anthropic(R"(,"tools":[{"name":"a"}])"), "tools.0.input_schema"},
             {anthropic(R"(,"tool_choice":{"type":"tool","name":"x"})"), "tool_choice.name"},
             {anthropic(R"(,"never_heard_of":1)"), "never_heard_of"}})
        EXPECT_EQ(refusal(Format::kAnthropic, body), std::pair(path, ErrorCode::kInvalid)) << body;
}

TEST(Chat, ResultsFollowTheirCalls) {
    const std::string call = R"({"role":"assistant","content":"","tool_calls":[{"id":"c1","type":
        "function","function":{"name":"f","arguments":"{}"}},{"id":"c2","type":"function",
        "function":{"name":"f","arguments":"{}"}}]})";
    const std::string one = R"({"role":"tool","tool_call_id":"c1","content":"1"})";
    const std::string two = R"({"role":"tool","tool_call_id":"c2","content":"2"})";
    const std::string user = R"({"role":"user","content":"hi"})";
    auto body = [&](const std::string& rest) { return openAi("", "[" + user + rest + "]"); };
    EXPECT_TRUE(parseRequest(Format::kOpenAi, body("," + call + "," + two + "," + one)));
    for (const auto& rest : {"," + call, "," + call + "," + one, "," + call + "," + one + "," + one,
                             "," + call + "," + one + "," + user + "," + two,
                             "," + call + "," + one + "," + two + "," + two})
        EXPECT_EQ(refusal(Format::kOpenAi, body(rest)).first, "messages") << rest;
}

TEST(Chat, BodiesAreBounded) {
    for (auto format : kBoth) {
        EXPECT_EQ(refusal(format, std::string(kMaxBodyBytes + 1, ' ')).second,
                  ErrorCode::kTooLarge);
        EXPECT_EQ(refusal(format, "[" + std::string(2 * kMaxValues, ',') + "]").second,
                  ErrorCode::kTooLarge);
        EXPECT_EQ(refusal(format, std::string(100, '[')).second, ErrorCode::kInvalid) << "depth";
        EXPECT_EQ(refusal(format, "no json").second, ErrorCode::kInvalid);
        EXPECT_EQ(refusal(format, R"({"model":"a","model":"b"})").second, ErrorCode::kInvalid);
        std::string tools;
        for (std::size_t i = 0; i <= kMaxTools; ++i)
            tools += (i > 0 ? "," : "") + std::string("{}");
        auto more = R"(,"tools":[)" + tools + "]";
        EXPECT_EQ(refusal(format, format == Format::kOpenAi ? openAi(more) : anthropic(more)),
                  std::pair(std::string("tools"), ErrorCode::kInvalid));
    }
    // A text full of commas is one value.
    auto commas = R"([{"role":"user","content":")" + std::string(2 * kMaxValues, ',') + "\"}]";
    EXPECT_TRUE(parseRequest(Format::kOpenAi, openAi("", commas)));
}

const json::Value& answer() {
    static const json::Value kAnswer =
        *json::parse(R"({"content":"Hi there","tool_calls":[{"id":"c1","name":"add",
            "arguments":"{\"a\":1}"},{"id":"c2","name":"say","arguments":"not json"}],
            "finish_reason":"tool_use","usage":{"prompt_tokens":3,"completion_tokens":5}})");
    return kAnswer;
}
const AnswerHead kHead{"ab12", "default", 7};

TEST(Chat, Documents) {
    EXPECT_EQ(
        document(Format::kOpenAi, kHead, answer()),
        R"({"id":"chatcmpl-ab12","object":"chat.completion","created":7,"model":"default",)"
        R"("choices":[{"index":0,"message":{"role":"assistant","content":"Hi there",)"
        R"("refusal":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"add",)"
        R"("arguments":"{\"a\":1}"}},{"id":"c2","type":"function","function":{"name":"say",)"
        R"("arguments":"not json"}}]},"logprobs":null,"finish_reason":"tool_calls"}],)"
        R"("usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8},)"
        R"("system_fingerprint":null})");
    EXPECT_EQ(document(Format::kAnthropic, kHead, answer()),
              R"({"id":"msg_ab12","type":"message","role":"assistant","model":"default","content":)"
              R"([{"type":"text","text":"Hi there"},{"type":"tool_use","id":"c1","name":"add",)"
              R"("input":{"a":1}},{"type":"tool_use","id":"c2","name":"say",)"
              R"("input":{"invalid_arguments":"not json"}}],"stop_reason":"tool_use",)"
              R"("stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":0,)"
              R"("cache_read_input_tokens":0,"output_tokens":5}})");
}

TEST(Chat, ReasonsOfEveryProviderInBothFormats) {
    struct Row {
        std::string_view said, open_ai, anthropic;
    };
    for (const auto& row :
         {Row{"stop", "stop", "end_turn"}, Row{"end_turn", "stop", "end_turn"},
          Row{"length", "length", "max_tokens"}, Row{"max_tokens", "length", "max_tokens"},
          Row{"stop_sequence", "stop", "stop_sequence"},
          Row{"content_filter", "content_filter", "refusal"},
          Row{"refusal", "content_filter", "refusal"}, Row{"", "stop", "end_turn"}}) {
        json::Value said =
            json::Object{{"content", "x"},
                         {"finish_reason", boost::json::string(row.said.data(), row.said.size())},
                         {"stop_sequence", "END"}};
        auto a = *json::parse(document(Format::kOpenAi, kHead, said));
        EXPECT_EQ(json::getString(a.at("choices").at(0), "finish_reason"), row.open_ai);
        auto b = *json::parse(document(Format::kAnthropic, kHead, said));
        EXPECT_EQ(json::getString(b, "stop_reason"), row.anthropic);
        EXPECT_EQ(json::getString(b, "stop_sequence"), "END");
    }
}

/// What a client reads: each event's name and data.
std::vector<std::pair<std::string, std::string>> events(const std::string& bytes) {
    std::vector<std::pair<std::string, std::string>> out;
    wire::SseReader reader(1U << 20U);
    EXPECT_TRUE(reader.feed(
        bytes, [&](const wire::SseEvent& event) { out.emplace_back(event.event, event.data); }));
    EXPECT_FALSE(reader.midEvent());
    return out;
}

TEST(Chat, AnOpenAiStream) {
    AnswerStream stream(Format::kOpenAi, kHead, true);
    auto bytes = stream.delta("Hi ");
    bytes += stream.delta("th");
    bytes += stream.finish(answer());
    auto all = events(bytes);
    ASSERT_EQ(all.size(), 9U);
    std::string text;
    for (std::size_t i = 0; i + 1 < all.size(); ++i) {
        EXPECT_EQ(all[i].first, "");
        auto chunk = *json::parse(all[i].second);
        EXPECT_EQ(json::getString(chunk, "object"), "chat.completion.chunk");
        EXPECT_EQ(json::getString(chunk, "id"), "chatcmpl-ab12");
        EXPECT_EQ(chunk.at("usage").is_null(), i != 7);
        if (i == 7) continue;
        const auto& delta = chunk.at("choices").at(0).at("delta");
        text += json::getString(delta, "content");
        EXPECT_EQ(json::getString(delta, "role"), std::string_view(i == 0 ? "assistant" : ""));
        EXPECT_EQ(json::getString(chunk.at("choices").at(0), "finish_reason"),
                  std::string_view(i == 6 ? "tool_calls" : ""));
        if (i == 4 || i == 5) {
            const auto& call = delta.at("tool_calls").at(0);
            EXPECT_EQ(json::getInt(call, "index", -1), static_cast<std::int64_t>(i) - 4);
            EXPECT_EQ(json::getString(call, "id"), std::string_view(i == 4 ? "c1" : "c2"));
        }
    }
    EXPECT_EQ(text, "Hi there") << "what no delta told comes with the end";
    auto last = *json::parse(all[7].second);
    EXPECT_TRUE(last.at("choices").as_array().empty());
    EXPECT_EQ(json::getInt(last.at("usage"), "total_tokens"), 8);
    EXPECT_EQ(all[8].second, "[DONE]");
}

TEST(Chat, AnAnthropicStream) {
    AnswerStream stream(Format::kAnthropic, kHead, false);
    auto bytes = stream.delta("Hi ");
    auto all = events(bytes + stream.finish(answer()));
    std::vector<std::string> names;
    for (const auto& [name, data] : all) {
        names.push_back(name);
        auto event = *json::parse(data);
        EXPECT_EQ(json::getString(event, "type"), name);
    }
    EXPECT_EQ(names,
              (std::vector<std::string>{
                  "message_start", "content_block_start", "content_block_delta",
                  "content_block_delta", "content_block_stop", "content_block_start",
                  "content_block_delta", "content_block_stop", "content_block_start",
                  "content_block_delta", "content_block_stop", "message_delta", "message_stop"}));
    EXPECT_EQ(all[6].second,
              R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta",)"
              R"("partial_json":"{\"a\":1}"}})");
    EXPECT_EQ(all[11].second,
              R"({"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},)"
              R"("usage":{"input_tokens":3,"cache_creation_input_tokens":0,)"
              R"("cache_read_input_tokens":0,"output_tokens":5}})");
}

TEST(Chat, AnAnswerWithoutText) {
    json::Value empty = json::Object{{"content", ""}, {"finish_reason", "stop"}};
    AnswerStream one(Format::kOpenAi, kHead, false);
    EXPECT_EQ(events(one.finish(empty)).size(), 3U);
    AnswerStream other(Format::kAnthropic, kHead, false);
    EXPECT_EQ(events(other.finish(empty)).size(), 3U);
    auto a = *json::parse(document(Format::kOpenAi, kHead, empty));
    EXPECT_TRUE(a.at("choices").at(0).at("message").at("content").is_string());
    auto b = *json::parse(document(Format::kAnthropic, kHead, empty));
    EXPECT_TRUE(b.at("content").as_array().empty());
}

TEST(Chat, Errors) {
    Error error(ErrorCode::kInvalid, "Invalid 'n'.", "ask once");
    error.details.push_back({.path = "n", .message = "bad"});
    EXPECT_EQ(errorBody(Format::kOpenAi, error),
              R"x({"error":{"message":"Invalid 'n'. (hint: ask once)","type":)x"
              R"x("invalid_request_error","param":"n","code":null}})x");
    EXPECT_EQ(errorBody(Format::kAnthropic, error),
              R"x({"type":"error","error":{"type":"invalid_request_error",)x"
              R"x("message":"Invalid 'n'. (hint: ask once)"}})x");
    EXPECT_EQ(statusOf(Format::kOpenAi, ErrorCode::kTooMany), 429);
    EXPECT_EQ(statusOf(Format::kAnthropic, ErrorCode::kUnavailable), 529);
    EXPECT_EQ(statusOf(Format::kOpenAi, ErrorCode::kNotFound), 404);
    AnswerStream one(Format::kOpenAi, kHead, false);
    auto bytes = one.delta("x");
    auto failed = events(bytes + one.fail({ErrorCode::kUnavailable, "broken"}));
    EXPECT_EQ(failed.back().second,
              R"({"error":{"message":"broken","type":"server_error","param":null,"code":null}})");
    AnswerStream other(Format::kAnthropic, kHead, false);
    EXPECT_EQ(events(other.fail({ErrorCode::kUnavailable, "broken"})).back(),
              std::pair(std::string("error"),
                        std::string(R"({"type":"error","error":{"type":"overloaded_error",)"
                                    R"("message":"broken"}})")));
}

}  // namespace
}  // namespace aegis::proto::chat
