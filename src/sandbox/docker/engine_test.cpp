#include "sandbox/docker/engine.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "os/clock.h"
#include "sandbox/docker/fake_engine.h"
#include "sandbox/docker/images.h"

namespace aegis::sandbox {
namespace {

const std::string kId(64, 'a');

struct EngineTest : ::testing::Test {
    EngineTest() {
        char name[] = "/tmp/aegis-engine-test-XXXXXX";
        dir = ::mkdtemp(name);
        socket = dir + "/docker.sock";
        engine = std::make_unique<Engine>(*parseDockerHost("unix://" + socket));
    }
    ~EngineTest() override {
        engine.reset();
        fake.reset();
        std::filesystem::remove_all(dir);
    }
    /// Serves `answer` for everything but the agreement on a version.
    void serve(FakeEngine::Answer answer) {
        fake = std::make_unique<FakeEngine>(socket, [answer](const std::string& request) {
            return request == "GET /version" ? FakeEngine::version() : answer(request);
        });
    }
    static Deadline soon(int ms = 2000) { return Deadline::in(os::systemClock().boot(), ms); }

    std::string dir, socket;
    std::unique_ptr<FakeEngine> fake;
    std::unique_ptr<Engine> engine;
};

TEST_F(EngineTest, AbsentEngineSaysWhatToDo) {
    const auto version = engine->version(soon());
    ASSERT_FALSE(version);
    EXPECT_EQ(version.error().code, ErrorCode::kUnreachable);
    EXPECT_TRUE(version.error().message.starts_with("Docker Engine is not reachable at unix://" +
                                                    socket + ": "))
        << version.error().message;
    EXPECT_NE(version.error().hint.find("systemctl start docker"), std::string::npos);
}

TEST_F(EngineTest, ADeadSocketIsAbsentToo) {
    serve([](const std::string&) { return FakeEngine::http(200, "{}"); });
    fake.reset();  // the file stays, nobody listens
    std::ofstream(dir + "/plain") << "x";
    EXPECT_EQ(engine->inspectImage("x", soon()).error().code, ErrorCode::kUnreachable);
}

TEST_F(EngineTest, AgreesOnAVersionOnceAndReusesTheConnection) {
    serve([](const std::string&) { return FakeEngine::http(200, "[]"); });
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(engine->listContainers("a=b", soon()));
    const auto requests = fake->requests();
    ASSERT_EQ(requests.size(), 4U);
    EXPECT_EQ(requests[0], "GET /version");
    EXPECT_EQ(requests[1],
              "GET /v1.41/containers/json?all=1&filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D");
    EXPECT_EQ(fake->connections(), 1);
}

TEST_F(EngineTest, SpeaksTheOldestVersionThatBothKnow) {
    fake = std::make_unique<FakeEngine>(socket, [](const std::string& request) {
        return request == "GET /version"
                   ? FakeEngine::http(200, R"({"ApiVersion":"1.52","MinAPIVersion":"1.44"})")
                   : FakeEngine::http(204, "");
    });
    ASSERT_TRUE(engine->startContainer(kId, soon()));
    EXPECT_EQ(fake->requests().back(), "POST /v1.44/containers/" + kId + "/start");
}

TEST_F(EngineTest, RefusesAnEngineThatIsTooOldOrNone) {
    std::string version = R"({"ApiVersion":"1.40"})";
    fake = std::make_unique<FakeEngine>(
        socket, [&](const std::string&) { return FakeEngine::http(200, version); });
    EXPECT_EQ(engine->version(soon()).error().code, ErrorCode::kUnsupported);
    for (const char* strange : {"{}", "[1]", "garbage", R"({"ApiVersion":"2.x"})", ""}) {
        version = strange;
        EXPECT_EQ(engine->version(soon()).error().code, ErrorCode::kUnavailable) << strange;
    }
}

TEST_F(EngineTest, BadAnswersAreErrorsOfTheEngine) {
    std::string answer;
    serve([&](const std::string&) { return answer; });
    const std::vector<std::pair<std::string, ErrorCode>> cases{
        {FakeEngine::http(500, R"({"message":"boom"})"), ErrorCode::kUnavailable},
        {FakeEngine::http(404, R"({"message":"no such container"})"), ErrorCode::kNotFound},
        {FakeEngine::http(400, R"({"message":"Minimum memory"})"), ErrorCode::kInvalid},
        {FakeEngine::http(200, "{\"State\":"), ErrorCode::kUnavailable},
        {FakeEngine::http(200, std::string(100'000, '[')), ErrorCode::kUnavailable},
        {FakeEngine::http(200, "{}"), ErrorCode::kUnavailable},
        {"SSH-2.0-OpenSSH\r\n\r\n<cut>", ErrorCode::kUnavailable},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Sta<cut>", ErrorCode::kIo},
    };
    for (const auto& [bytes, code] : cases) {
        answer = bytes;
        const auto state = engine->inspectContainer(kId, soon());
        ASSERT_FALSE(state) << bytes;
        EXPECT_EQ(errorTraits(state.error().code).name, errorTraits(code).name)
            << bytes << " -> " << state.error().message;
    }
    answer = FakeEngine::http(200, R"({"State":{"Running":true,"Pid":7}})");
    EXPECT_TRUE(engine->inspectContainer(kId, soon())) << "and it goes on with a sane answer";
}

TEST_F(EngineTest, AHangingEngineCostsNoMoreThanTheDeadline) {
    serve([](const std::string&) { return std::string(); });
    const auto began = os::systemClock().boot();
    const auto started = engine->startContainer(kId, soon(200));
    EXPECT_EQ(started.error().code, ErrorCode::kTimeout);
    EXPECT_LT(os::systemClock().boot().ns - began.ns, 1'500'000'000);
}

TEST_F(EngineTest, StopEndsRunningAndLaterCalls) {
    serve([](const std::string&) { return std::string(); });
    std::thread stopper([this] {
        while (fake->requests().size() < 2)
            std::this_thread::yield();
        engine->stop();
    });
    EXPECT_EQ(engine->startContainer(kId, Deadline::never()).error().code, ErrorCode::kCancelled);
    stopper.join();
    EXPECT_EQ(engine->startContainer(kId, Deadline::never()).error().code, ErrorCode::kCancelled);
}

TEST_F(EngineTest, RemovingWhatIsGoneIsSuccess) {
    int status = 404;
    serve([&](const std::string&) { return FakeEngine::http(status, R"({"message":"no"})"); });
    EXPECT_TRUE(engine->removeContainer(kId, soon()));
    EXPECT_EQ(fake->requests().back(), "DELETE /v1.41/containers/" + kId + "?force=1&v=1");
    status = 409;
    EXPECT_EQ(engine->removeContainer(kId, soon()).error().code, ErrorCode::kConflict);
}

TEST_F(EngineTest, ProgressStreamsTellTheirErrors) {
    std::string body =
        "{\"status\":\"Pulling\"}\r\n{\"errorDetail\":{\"message\":\"denied\"},"
        "\"error\":\"denied\"}\r\n";
    serve([&](const std::string&) { return FakeEngine::http(200, body); });
    auto pulled = engine->pullImage("host:5000/a:b", soon());
    ASSERT_FALSE(pulled);
    EXPECT_EQ(pulled.error().message, "Docker Engine: denied");
    EXPECT_EQ(fake->requests().back(), "POST /v1.41/images/create?fromImage=host%3A5000%2Fa&tag=b");
    body = "{\"status\":\"Pulling\"}\nnonsense\n";
    EXPECT_FALSE(engine->pullImage("a", soon()));
    body = "{\"status\":\"Done\"}";
    EXPECT_TRUE(engine->pullImage("a", soon()));
}

TEST_F(EngineTest, OnlyAnEngineOnThisMachine) {
    EXPECT_EQ(parseDockerHost("tcp://10.0.0.1:2375").error().code, ErrorCode::kInvalid);
    EXPECT_FALSE(parseDockerHost("127.0.0.1:2375"));
    EXPECT_FALSE(parseDockerHost(""));
    EXPECT_EQ(parseDockerHost("unix:///x/y.sock")->path, "/x/y.sock");
}

// ---- Images ----

std::string inspected() { return FakeEngine::http(200, R"({"Id":"sha256:1","Config":{}})"); }
std::string noImage() { return FakeEngine::http(404, R"({"message":"No such image"})"); }

TEST_F(EngineTest, ManagedImagesAreNeverPulled) {
    serve([](const std::string&) { return noImage(); });
    Images images(*engine);
    for (const char* policy : {"Always", "IfNotPresent", "Never", ""}) {
        const auto info = images.resolve("aegis/python:3.11", policy, soon());
        ASSERT_FALSE(info);
        EXPECT_EQ(info.error().message, "image aegis/python:3.11 is not on this machine");
        EXPECT_EQ(info.error().hint, "aegis image build python 3.11");
        EXPECT_FALSE(images.check("aegis/python:3.11", policy, soon()));
    }
    for (const auto& request : fake->requests())
        EXPECT_EQ(request.find("/images/create"), std::string::npos);
}

TEST_F(EngineTest, PullPoliciesDecideWhatIsAsked) {
    bool present = false;
    serve([&](const std::string& request) {
        if (request.starts_with("POST")) {
            present = true;
            return FakeEngine::http(200, "{\"status\":\"ok\"}\n");
        }
        return present ? inspected() : noImage();
    });
    Images images(*engine);
    EXPECT_EQ(images.resolve("a:b", "Never", soon()).error().code, ErrorCode::kNotFound);
    EXPECT_FALSE(images.check("a:b", "Never", soon()));
    EXPECT_TRUE(images.check("a:b", "IfNotPresent", soon()));
    EXPECT_FALSE(present) << "checking pulls nothing";
    EXPECT_TRUE(images.resolve("a:b", "IfNotPresent", soon()));
    const auto count = fake->requests().size();
    EXPECT_TRUE(images.resolve("a:b", "IfNotPresent", soon()));
    EXPECT_EQ(fake->requests().size(), count + 1) << "present: only inspected";
    EXPECT_TRUE(images.resolve("a:b", "Always", soon()));
    EXPECT_EQ(fake->requests().size(), count + 3) << "pulled, then inspected";
}

TEST_F(EngineTest, AnArchiveIsLoadedOncePerContent) {
    std::string loaded = "{\"stream\":\"Loaded image: made/here:1\\n\"}\n";
    fake = std::make_unique<FakeEngine>(socket, [&](const std::string& request) {
        if (request == "GET /version") return FakeEngine::version();
        if (request.find("/images/load") != std::string::npos)
            return FakeEngine::http(200, loaded) + "<cut>";
        return inspected();
    });
    Images images(*engine);
    const auto path = dir + "/image.tar";
    EXPECT_FALSE(images.resolve(path, "", soon())) << "a missing file";
    EXPECT_FALSE(images.check(path, "", soon()));
    std::ofstream(path) << "content";
    auto loads = [&] {
        std::size_t count = 0;
        for (const auto& request : fake->requests())
            count += request.find("/images/load") != std::string::npos;
        return count;
    };
    EXPECT_TRUE(images.resolve(path, "", soon()));
    EXPECT_TRUE(images.resolve(path, "Always", soon()));
    EXPECT_EQ(loads(), 1U);
    std::ofstream(path) << "other content";
    EXPECT_TRUE(images.resolve(path, "", soon()));
    EXPECT_EQ(loads(), 2U);
    loaded = "{\"stream\":\"nothing\"}\n";
    std::ofstream(path) << "no image at all";
    EXPECT_EQ(images.resolve(path, "", soon()).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace aegis::sandbox
