#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>
#include <future>
#include <thread>

#include "models/from_config.h"
#include "models/reader_test_util.h"
#include "os/clock.h"
#include "os/files.h"

namespace aegis::models {
namespace {

using namespace test;
using Role = ports::Message::Role;
using Answer = Result<ports::ModelAnswer>;

// tests/model_server with a script, on a free port of the loopback; killed when destroyed.
class ModelServer {
  public:
    explicit ModelServer(const std::string& script) {
        char name[] = "/tmp/aegis-models-XXXXXX";
        dir_ = ::mkdtemp(name);
        std::ofstream(dir_ + "/script.json") << script;
        std::string program = AEGIS_SOURCE_DIR "/tests/model_server/model_server.py";
        std::string script_path = dir_ + "/script.json", port_path = dir_ + "/port";
        std::vector<std::string> words{"python3",   program,       "--script",
                                       script_path, "--port-file", port_path};
        std::vector<char*> argv;
        for (auto& word : words)
            argv.push_back(word.data());
        argv.push_back(nullptr);
        if (::posix_spawnp(&pid_, "python3", nullptr, nullptr, argv.data(), environ) != 0) pid_ = 0;
        for (int i = 0; i < 2000 && port.empty(); ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            std::ifstream(port_path) >> port;
        }
    }
    ~ModelServer() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        EXPECT_TRUE(os::removeTree(dir_));
    }

    std::string port;

  private:
    std::string dir_;
    pid_t pid_ = 0;
};

constexpr std::string_view kScript = R"({"keys": ["sk-test"], "rules": [
  {"match": "^tool", "turns": [
    {"content": "thinking", "tool_calls": [{"name": "fs_write", "arguments": {"path": "/é"}},
                                           {"name": "cmd_run", "arguments": {}}]},
    {"content": "All done, wörld."}]},
  {"match": "^flaky", "times": 1, "status": 500},
  {"match": "^reset", "times": 1, "reset": true},
  {"match": "^broken", "status": 500, "error": "disk\non fire"},
  {"match": "^hang", "hang": true},
  {"match": "^slow", "content": "abcdefgh", "chunk_chars": 1, "chunk_delay_ms": 100},
  {"match": "^cut", "content": "0123456789abcdefghijklmnop", "cut_after_bytes": 700},
  {"match": "^clean cut", "content": "0123456789abcdefghijklmnop", "cut_after_bytes": 700, "cut": "clean"},
  {"match": "^half", "half_json": true, "content": "abc"},
  {"match": "^garbage", "raw": "%$! no protocol\u0000"},
  {"match": "^many calls", "tool_calls": [{"name": "x"}], "repeat_tool_calls": 10000},
  {"match": "^huge", "content_bytes": 52428800},
  {"content": "Hello."}]})";

class ProviderIntegration : public testing::TestWithParam<config::ProviderType> {
  protected:
    static void SetUpTestSuite() { server_ = new ModelServer(std::string(kScript)); }
    static void TearDownTestSuite() {
        delete server_;
        server_ = nullptr;
    }

    void SetUp() override {
        ASSERT_FALSE(server_->port.empty()) << "the model server does not start";
        auto curl = net::CurlMulti::create();
        ASSERT_TRUE(curl);
        curl_ = std::move(*curl);
        use("sk-test", "127.0.0.1:" + server_->port);
    }

    void use(std::string key, const std::string& address) {
        bool openai = GetParam() == config::ProviderType::kOpenai;
        config::LlmConfig config;
        config::ProviderConfig provider;
        provider.name = "p";
        provider.type = GetParam();
        provider.model = "m-1";
        provider.api_key = Secret(std::move(key));
        provider.base_url = "http://" + address + (openai ? "/v1" : "");
        config.providers.push_back(std::move(provider));
        auto router = makeRouter(config, *curl_, os::systemClock(), os::systemRandom());
        ASSERT_TRUE(router);
        router_ = std::move(*router);
    }

    static ports::ModelRequest request(std::string text) {
        ports::ModelRequest out;
        out.alias = "default";
        out.messages = {message(Role::kSystem, "be good"), message(Role::kUser, std::move(text))};
        json::Value schema{{"type", "object"}, {"properties", json::Object{}}};
        out.tools = {{"fs.write", "Writes", schema}, {"cmd.run", "Runs", schema}};
        return out;
    }

    std::future<Answer> begin(ports::ModelRequest request, std::int64_t deadline_ms = 60'000,
                              Router::CallId* id = nullptr) {
        auto promise = std::make_shared<std::promise<Answer>>();
        ports::ModelSink sink;
        sink.delta = [this](std::string_view text) {
            streamed_ += text.size();
            if (!first_delta_.exchange(true)) got_delta_.set_value();
        };
        sink.done = [promise](Answer answer) { promise->set_value(std::move(answer)); };
        auto call = router_->start(std::move(request),
                                   Deadline::in(os::systemClock().boot(), deadline_ms), sink);
        if (id != nullptr) *id = call;
        return promise->get_future();
    }
    Answer ask(std::string text, std::int64_t deadline_ms = 60'000) {
        return begin(request(std::move(text)), deadline_ms).get();
    }

    static inline ModelServer* server_ = nullptr;
    std::atomic<std::size_t> streamed_{0};
    std::atomic<bool> first_delta_{false};
    std::promise<void> got_delta_;
    std::unique_ptr<net::CurlMulti> curl_;
    std::unique_ptr<Router> router_;
};

TEST_P(ProviderIntegration, AWholeConversationWithTools) {
    ports::ModelRequest conversation = request("tool please: \"\xc3\xa9\"\n\x01");
    Answer first = begin(conversation).get();
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_EQ(first->content, "thinking");
    ASSERT_EQ(first->tool_calls.size(), 2U);
    EXPECT_EQ(first->tool_calls[0].name, "fs.write");
    EXPECT_EQ(first->tool_calls[0].arguments, "{\"path\": \"/é\"}");
    EXPECT_EQ(first->tool_calls[1].name, "cmd.run");
    EXPECT_GT(first->usage.prompt_tokens, 0U);
    EXPECT_GT(first->usage.completion_tokens, 0U);
    ports::Message said = message(Role::kAssistant, first->content);
    said.tool_calls = first->tool_calls;
    conversation.messages.push_back(said);
    for (const auto& call : first->tool_calls) {
        conversation.messages.push_back(message(Role::kTool, "result"));
        conversation.messages.back().tool_call_id = call.id;
    }
    Answer second = begin(conversation).get();
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ(second->content, "All done, wörld.");
    EXPECT_TRUE(second->tool_calls.empty());
}

TEST_P(ProviderIntegration, OneFailureIsRetried) {
    for (std::string text : {"flaky ", "reset "}) {
        Answer answer = ask(text);
        ASSERT_TRUE(answer) << text << answer.error().message;
        EXPECT_EQ(answer->content, "Hello.");
    }
}

TEST_P(ProviderIntegration, EachKindOfTroubleIsAClearError) {
    struct Trouble {
        std::string text;
        ErrorCode code;
        std::string message;
    };
    const std::vector<Trouble> table{
        {"broken", ErrorCode::kUnavailable, "provider \"p\" failed (HTTP 500): disk\\non fire"},
        {"cut", ErrorCode::kUnreachable, "the connection broke in the middle of the answer"},
        {"clean cut", ErrorCode::kUnreachable, "the answer ended before it was complete"},
        {"half", ErrorCode::kUnavailable, "the answer makes no sense"},
        {"garbage", ErrorCode::kUnavailable, "neither a stream of events nor JSON"},
        {"many calls", ErrorCode::kTooLarge, "more than 1024 tool calls"},
        {"huge", ErrorCode::kTooLarge, "larger than 8388608 bytes"},
    };
    for (const Trouble& row : table) {
        Answer answer = ask(row.text);
        ASSERT_FALSE(answer) << row.text;
        EXPECT_EQ(answer.error().code, row.code) << row.text << ": " << answer.error().message;
        EXPECT_TRUE(answer.error().message.contains(row.message)) << answer.error().message;
    }
}

TEST_P(ProviderIntegration, WrongKeyAndNobodyThere) {
    use("sk-wrong-key", "127.0.0.1:" + server_->port);
    Answer answer = ask("hi");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kUnauthenticated);
    EXPECT_TRUE(
        answer.error().message.starts_with("provider \"p\" refused the API key (HTTP 401)"));
    EXPECT_TRUE(answer.error().hint.contains("api_key")) << answer.error().hint;
    use("sk-test", "127.0.0.1:1");
    answer = ask("hi");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kUnreachable);
    EXPECT_TRUE(answer.error().message.starts_with("provider \"p\" cannot be reached: "))
        << answer.error().message;
}

TEST_P(ProviderIntegration, TheDeadlineEndsACallThatHangs) {
    Answer answer = ask("hang", 300);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kTimeout) << answer.error().message;
}

TEST_P(ProviderIntegration, CancelEndsAStreamAtOnce) {
    Router::CallId id = 0;
    auto future = begin(request("slow"), 60'000, &id);
    got_delta_.get_future().wait();
    router_->cancel(id);
    auto answer = future.get();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kCancelled);
    std::size_t streamed = streamed_;
    EXPECT_LT(streamed, 8U);
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    EXPECT_EQ(streamed_, streamed);
}

TEST_P(ProviderIntegration, AHundredAtOnce) {
    std::vector<std::future<Answer>> futures;
    for (int i = 0; i < 100; ++i)
        futures.push_back(begin(request("hi")));
    for (auto& future : futures) {
        Answer answer = future.get();
        ASSERT_TRUE(answer) << answer.error().message;
        EXPECT_EQ(answer->content, "Hello.");
    }
}

INSTANTIATE_TEST_SUITE_P(Dialects, ProviderIntegration,
                         testing::Values(config::ProviderType::kOpenai,
                                         config::ProviderType::kAnthropic),
                         [](const auto& param) { return std::string(config::name(param.param)); });

}  // namespace
}  // namespace aegis::models
