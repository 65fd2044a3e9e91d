// What the runtime does when the engine, or the first process of a sandbox, misbehaves. The engine
// here is fake; the first process is a child of the test in a pid namespace of its own (needs
// root).
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>
#include <thread>

#include "proto/ctl.h"
#include "sandbox/docker/fake_engine.h"
#include "sandbox/docker/runtime_fixture.h"

namespace aegis::sandbox {
namespace {

namespace fs = std::filesystem;
using namespace proto;

const std::string kId(64, 'c');

std::string message(const ctl::GuestMessage& value) { return *ctl::encode(value); }
const std::string kHello = message(ctl::Hello{ctl::State::kIdle, 1, 7411, 0});
const std::string kStarted = message(ctl::Started{2});

class RuntimeFaultsTest : public RuntimeFixture {
  protected:
    RuntimeFaultsTest() {
        socket_ = dir_ + "/docker.sock";
        // Present for create(), never run.
        if (!fs::exists(dir_ + "/guest/init")) {
            std::ofstream(dir_ + "/guest/init") << "#!/bin/true\n";
            fs::permissions(dir_ + "/guest/init", fs::perms(0755));
        }
    }
    void TearDown() override {
        runtime_.reset();
        fake_.reset();
        if (init_ > 0) {
            ::kill(init_, SIGKILL);
            ::waitpid(init_, nullptr, 0);
        }
    }
    /// An engine on which everything works, but for what `special` answers ("" leaves it).
    void serve(FakeEngine::Answer special) {
        fake_ = std::make_unique<FakeEngine>(
            socket_, [this, special](const std::string& request) -> std::string {
                if (request == "GET /version") return FakeEngine::version();
                if (auto answer = special(request); !answer.empty())
                    return answer == "hang" ? "" : answer;
                if (request.starts_with("GET /v1.41/images/"))
                    return FakeEngine::http(200, R"({"Id":"sha256:1"})");
                if (request.find("/containers/create") != std::string::npos)
                    return FakeEngine::http(201, R"({"Id":")" + kId + "\"}");
                if (request.starts_with("GET /v1.41/containers/json"))
                    return FakeEngine::http(200, "[]");
                if (request.ends_with("/json")) return inspected();
                return FakeEngine::http(204, "");
            });
        makeRuntime("unix://" + socket_);
    }
    std::string inspected() const {
        return FakeEngine::http(
            200, R"({"State":{"Running":true,"Pid":)" + std::to_string(init_) + "}}");
    }
    /// The sandbox's directory, while there is one.
    std::string ctlSocket() const {
        for (const auto& entry : fs::directory_iterator(dir_ + "/run/" + node_.str()))
            if (fs::exists(entry.path() / "ctl.sock")) return entry.path() / "ctl.sock";
        return {};
    }
    /// Forks a process 1 of a new namespace that connects, says `script`, and waits (or goes).
    void spawnInit(const std::vector<std::string>& script, bool stays = true) {
        const auto path = ctlSocket();
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        const auto child = ::syscall(SYS_clone, SIGCHLD | CLONE_NEWPID, 0, 0, 0, 0);
        if (child != 0) {
            init_ = static_cast<pid_t>(child);
            return;
        }
        const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
        ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
        for (const auto& text : script)
            ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        while (stays)
            ::pause();
        ::_exit(0);
    }
    /// Serves an engine whose start makes that init, and runs a sandbox on it to its end.
    RecordingSink::Fate runInit(const std::vector<std::string>& script, bool stays = true) {
        serve([this, script, stays](const std::string& request) -> std::string {
            if (!request.ends_with("/start")) return {};
            spawnInit(script, stays);
            return FakeEngine::http(204, "");
        });
        return runToEnd(spec("x"));
    }
    void expectClean() {
        for (int i = 0; i < 500 && !runDirsEmpty(); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        EXPECT_TRUE(runDirsEmpty());
    }
    bool wasAsked(const std::string& part) {
        for (const auto& request : fake_->requests())
            if (request.find(part) != std::string::npos) return true;
        return false;
    }

    std::string socket_;
    std::unique_ptr<FakeEngine> fake_;
    std::atomic<pid_t> init_{0};
};

TEST_F(RuntimeFaultsTest, AnAbsentEngineIsFatalAndSaysWhatToDo) {
    makeRuntime("unix://" + socket_);
    EXPECT_EQ(runtime_->available().error().code, ErrorCode::kUnreachable);
    const auto fate = runToEnd(spec("x"));
    ASSERT_TRUE(fate.error);
    EXPECT_TRUE(fate.fatal);
    EXPECT_EQ(fate.error->code, ErrorCode::kUnreachable);
    EXPECT_FALSE(fate.error->hint.empty());
    EXPECT_FALSE(runtime_->sweep({}));
    expectClean();
}

TEST_F(RuntimeFaultsTest, RefusalsAndNonsenseAreFatalAndLeaveNothing) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"/containers/create", FakeEngine::http(500, R"({"message":"no space"})")},
        {"/containers/create", FakeEngine::http(201, "garbage")},
        {"/containers/create", FakeEngine::http(201, R"({"Id":"../../etc/passwd"})")},
        {"/containers/create", "HTTP/1.1 201 Created\r\nContent-Length: 90\r\n\r\n{\"I<cut>"},
        {"/start", FakeEngine::http(400, R"({"message":"OCI runtime create failed"})")},
        {"/start", "<cut>"},
        {"/images/", FakeEngine::http(500, "")},
    };
    for (const auto& [where, answer] : cases) {
        serve([where = where, answer = answer](const std::string& request) {
            return request.find(where) != std::string::npos ? answer : std::string();
        });
        const auto fate = runToEnd(spec("x"));
        ASSERT_TRUE(fate.error) << where << answer;
        EXPECT_TRUE(fate.fatal) << where << answer;
        EXPECT_EQ(fate.calls, 1);
        expectClean();
        runtime_.reset();
        fake_.reset();
    }
}

TEST_F(RuntimeFaultsTest, AStartThatHangsTimesOutAndIsRemoved) {
    serve([](const std::string& request) {
        return request.ends_with("/start") ? std::string("hang") : std::string();
    });
    const auto what = spec("x");
    runtime_->start(what, soon(300), sink_);
    const auto fate = sink_.finished(what.id);
    ASSERT_TRUE(fate.error);
    EXPECT_EQ(fate.error->code, ErrorCode::kTimeout);
    EXPECT_FALSE(fate.fatal);
    closeNow(what.id);
    expectClean();
    EXPECT_TRUE(wasAsked("DELETE /v1.41/containers/" + kId));
}

TEST_F(RuntimeFaultsTest, ADeathThatCannotBeProvenIsTold) {
    std::atomic<bool> refuses{true};
    serve([&refuses](const std::string& request) -> std::string {
        if (request.ends_with("/start")) return FakeEngine::http(500, "");
        if (request.starts_with("DELETE") && refuses) return FakeEngine::http(500, "");
        return {};
    });
    const auto what = spec("x");
    ASSERT_TRUE(runToEnd(what).error);
    std::promise<Status> promise;
    runtime_->close(what.id, soon(200), [&](Status status) { promise.set_value(status); });
    EXPECT_EQ(promise.get_future().get().error().code, ErrorCode::kTimeout);
    EXPECT_FALSE(runDirsEmpty());
    refuses = false;
    closeNow(what.id);
    expectClean();
    runtime_.reset();
}

TEST_F(RuntimeFaultsTest, AContainerThatEndsAtOnceIsTold) {
    serve([](const std::string& request) -> std::string {
        if (request.find("/containers/" + kId + "/json") == std::string::npos) return {};
        return FakeEngine::http(200, R"({"State":{"Running":false,"Pid":0,"ExitCode":127}})");
    });
    const auto fate = runToEnd(spec("x"));
    ASSERT_TRUE(fate.error);
    EXPECT_EQ(fate.error->message, "the container ended before it was ready (exit code 127)");
    EXPECT_FALSE(fate.fatal);
    expectClean();
}

TEST_F(RuntimeFaultsTest, OnlyTheFirstProcessMayTakeTheControlSocket) {
    serve([this](const std::string& request) -> std::string {
        if (!request.ends_with("/start")) return {};
        for (int i = 0; i < 20; ++i) {
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            std::strncpy(address.sun_path, ctlSocket().c_str(), sizeof address.sun_path - 1);
            os::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
            if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
                break;
            ::send(fd.get(), kHello.data(), kHello.size(), MSG_NOSIGNAL);
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return FakeEngine::http(204, "");
    });
    const auto fate = runToEnd(spec("x"));
    ASSERT_TRUE(fate.error);
    EXPECT_EQ(fate.error->code, ErrorCode::kPermissionDenied);
    EXPECT_EQ(fate.error->message, "the sandbox's control socket is under attack");
}

class HostileInitTest : public RuntimeFaultsTest {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes pid namespaces";
    }
};

TEST_F(HostileInitTest, AConversationAsAgreedIsBelieved) {
    const auto fate = runInit({kHello, kStarted, message(ctl::Exited{7, 0, 100, 0, false})});
    ASSERT_TRUE(fate.info) << (fate.error ? fate.error->message : "timeout");
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->exit_code, 7);
    EXPECT_EQ(fate.exit->stdout_bytes, 100U);
    EXPECT_TRUE(fate.exit->died.empty());
}

TEST_F(HostileInitTest, NonsenseBeforeTheStartFailsTheSandboxAndKillsIt) {
    const std::vector<std::vector<std::string>> scripts{
        {"x"},
        {std::string(ctl::kMaxMessageBytes, 'y')},
        {kHello + "trailing"},
        {kHello, kHello},
        {message(ctl::Hello{ctl::State::kRunning, 1, 0, 0})},
        {kStarted},
        {message(ctl::Exited{})},
        {kHello, message(ctl::ExecDone{})},
        {kHello, message(ctl::Killed{})},
        {*ctl::encode(ctl::HostMessage(ctl::Shutdown{}))},
    };
    for (std::size_t i = 0; i < scripts.size(); ++i) {
        const auto fate = runInit(scripts[i]);
        ASSERT_TRUE(fate.error) << i;
        EXPECT_FALSE(fate.fatal) << i;
        EXPECT_TRUE(fate.error->message.starts_with("the sandbox's init ")) << fate.error->message;
        expectClean();
        int status = 0;
        EXPECT_EQ(::waitpid(init_, &status, 0), init_) << i;
        EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << i;
        init_ = 0;
        runtime_.reset();
        fake_.reset();
    }
}

TEST_F(HostileInitTest, NonsenseAfterTheStartEndsTheSandbox) {
    const auto fate = runInit({kHello, kStarted, kStarted});
    ASSERT_TRUE(fate.info);
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->died, "the sandbox's init reported a start out of turn");
    EXPECT_EQ(fate.exit->exit_code, std::nullopt);
    expectClean();
}

TEST_F(HostileInitTest, AnInitThatDiesIsReported) {
    const auto fate = runInit({kHello, kStarted}, false);
    ASSERT_TRUE(fate.exit || fate.error);
    const auto text = fate.exit ? fate.exit->died : fate.error->message;
    EXPECT_TRUE(text.starts_with("the container died")) << text;
    expectClean();
}

TEST_F(HostileInitTest, AStartFailureOfTheInitIsTold) {
    const auto fate = runInit({kHello, message(ctl::StartFailed{EACCES, "python3: \x1b[31mno\n"})});
    ASSERT_TRUE(fate.error);
    EXPECT_TRUE(fate.fatal);
    EXPECT_EQ(fate.error->message, "the bootstrap could not be started: python3:  [31mno");
}

}  // namespace
}  // namespace aegis::sandbox
