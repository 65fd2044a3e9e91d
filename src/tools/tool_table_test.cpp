#include "tools/tool_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <thread>

#include "os/clock.h"
#include "os/files.h"

namespace aegis::tools {
namespace {

using Verdict = ports::ToolAdmission::Verdict;

/// Sandboxes whose root is the directory it was given; none for ordinal 0.
class FakeRuntime : public ports::Runtime {
  public:
    explicit FakeRuntime(std::string root) : root_(std::move(root)) {}
    std::string name() const override { return "fake"; }
    Status available() override { return {}; }
    Result<ports::ImageFacts> checkImage(const std::string&, const std::string&) override {
        return ports::ImageFacts{};
    }
    void start(ports::SandboxSpec, Deadline, ports::SandboxSink&) override {}
    void close(const ports::SandboxId&, Deadline, std::function<void(Status)> done) override {
        done({});
    }
    void run(const ports::SandboxId&, std::vector<std::string>, Deadline,
             std::function<void(Result<ports::CommandResult>)>) override {}
    Result<os::Fd> root(const ports::SandboxId& id) override {
        if (id.ordinal == 0) return {ErrorCode::kNotFound, "no such sandbox"};
        return os::openFile(root_, O_PATH | O_DIRECTORY);
    }
    Status sweep(const std::set<ports::SandboxId>&) override { return {}; }

  private:
    std::string root_;
};

class ToolTableTest : public ::testing::Test {
  protected:
    ToolTableTest() : runtime_("/") {
        agent::Manifest manifest;
        manifest.volumes.push_back({.name = "workspace", .mount_point = "/workspace"});
        manifest.security.filesystem.read = {"/workspace"};
        manifest.security.filesystem.write = {"/workspace"};
        // Shared: as ToolContext wants it.
        context_.manifest = std::make_shared<const agent::Manifest>(std::move(manifest));
        context_.sandbox.ordinal = 1;
    }
    static Deadline in(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }
    ports::ToolOutcome run(ToolTable& table, const ports::ToolCall& call, Deadline deadline) {
        std::promise<ports::ToolOutcome> result;
        table.run(context_, call, deadline, [&](auto outcome) { result.set_value(outcome); });
        return result.get_future().get();
    }

    FakeRuntime runtime_;
    ports::ToolContext context_;
};

TEST_F(ToolTableTest, namesAndOffers) {
    ToolTable table({}, {&runtime_}, os::systemClock());
    auto names = table.names();
    for (const char* name : {"fs.read", "fs.write", "fs.edit", "fs.list", "fs.create_dir",
                             "fs.delete", "fs.glob", "fs.grep", "cmd.run"})
        EXPECT_EQ(std::ranges::count(names, name), 1) << name;
    auto offered = table.offered(*context_.manifest);
    EXPECT_EQ(offered.size(), 9U);
    for (const auto& spec : offered) {
        EXPECT_FALSE(spec.description.empty());
        EXPECT_EQ(json::getString(spec.parameters, "type"), "object");
    }
    TableOptions without;
    without.dispatcher_enabled = false;
    ToolTable small(without, {&runtime_}, os::systemClock());
    EXPECT_EQ(std::ranges::count(small.names(), "cmd.run"), 0);
    EXPECT_EQ(small.admit(context_, {.id = "1", .name = "cmd.run", .arguments = "{}"}).verdict,
              Verdict::kRefused);
}

TEST_F(ToolTableTest, unknownToolsAreToldWhatThereIs) {
    ToolTable table({}, {&runtime_}, os::systemClock());
    auto refused = table.admit(context_, {.id = "1", .name = "fs.rm\n", .arguments = "{}"});
    EXPECT_EQ(refused.verdict, Verdict::kRefused);
    EXPECT_TRUE(refused.reason.starts_with("unknown tool \"fs.rm\\n\"; available: "));
    EXPECT_NE(refused.reason.find("fs.delete"), std::string::npos);
}

TEST_F(ToolTableTest, routesAdmissions) {
    ToolTable table({}, {&runtime_}, os::systemClock());
    EXPECT_EQ(
        table.admit(context_, {.name = "cmd.run", .arguments = R"({"command":"ls"})"}).verdict,
        Verdict::kDispatch);
    EXPECT_EQ(table.admit(context_, {.name = "fs.read", .arguments = R"({"path":"a"})"}).verdict,
              Verdict::kRun);
    EXPECT_EQ(table.finish({.name = "cmd.run", .arguments = R"({"command":"ls"})"}, {}).summary,
              "ls");
}

class NoWeb : public ports::Web {
  public:
    Status check(const std::string&) const override { return {}; }
    void fetch(ports::WebRequest request,
               std::function<void(Result<ports::WebAnswer>)> done) override {
        left_ms = request.deadline.leftMs(os::systemClock().boot());
        done(Error(ErrorCode::kPermissionDenied, "not in the allowlist"));
    }
    std::int64_t left_ms = 0;
};

TEST_F(ToolTableTest, fetchesWhereThereIsAWeb) {
    NoWeb web;
    TableOptions options;
    options.web = &web;
    ToolTable table(options, {&runtime_}, os::systemClock());
    EXPECT_EQ(std::ranges::count(table.names(), "web.fetch"), 1);
    auto call = ports::ToolCall{.name = "web.fetch", .arguments = R"({"url":"http://a.test/"})"};
    EXPECT_EQ(table.admit(context_, call).verdict, Verdict::kRefused);  // network.mode is none
    auto manifest = *context_.manifest;
    manifest.security.network = {agent::NetworkMode::kAllow, {"b.test"}, {}};
    context_.manifest = std::make_shared<const agent::Manifest>(manifest);
    EXPECT_EQ(table.offered(manifest).back().name, "web.fetch");
    EXPECT_EQ(table.admit(context_, call).verdict, Verdict::kRun);
    EXPECT_EQ(run(table, call, in(900'000)).reason,
              "web.fetch http://a.test/: not in the allowlist");
    EXPECT_LE(web.left_ms, 60'000);
}

TEST_F(ToolTableTest, runsOnWorkersWithoutRights) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ToolTable table({}, {&runtime_}, os::systemClock());
    EXPECT_TRUE(
        run(table, {.name = "fs.read", .arguments = R"({"path":"/etc/passwd"})"}, in(9000)).ok);
    auto shadow =
        run(table, {.name = "fs.read", .arguments = R"({"path":"/etc/shadow"})"}, in(9000));
    EXPECT_EQ(shadow.reason, "fs.read /etc/shadow: permission denied");
    auto read = table.read(context_.sandbox, "/etc/passwd", 1 << 20, in(9000));
    EXPECT_TRUE(read) << read.error().message;
    EXPECT_EQ(table.read(context_.sandbox, "/etc/shadow", 1 << 20, in(9000)).error().code,
              ErrorCode::kPermissionDenied);
    // The caller's own thread keeps its rights.
    EXPECT_TRUE(os::readFile("/etc/shadow", 1 << 20));
}

TEST_F(ToolTableTest, aMissingSandboxIsAFailure) {
    ToolTable table({}, {&runtime_}, os::systemClock());
    context_.sandbox.ordinal = 0;
    auto outcome = run(table, {.name = "fs.read", .arguments = R"({"path":"a"})"}, in(9000));
    EXPECT_FALSE(outcome.ok);
    EXPECT_FALSE(table.read(context_.sandbox, "/a", 10, in(9000)));
}

TEST_F(ToolTableTest, stuckWorkersAndAFullQueueAreAnswered) {
    TableOptions options;
    options.workers = 1;
    options.max_queue = 1;
    std::mutex stuck;
    std::atomic<int> answered = 0;
    ports::ToolCall call{.name = "fs.read", .arguments = R"({"path":"/none"})"};
    std::promise<ports::ToolOutcome> late, refused;
    std::promise<void> blocked;
    {
        ToolTable table(options, {&runtime_}, os::systemClock());
        stuck.lock();
        table.run(context_, call, in(60'000), [&](auto) {
            blocked.set_value();
            std::lock_guard lock(stuck);
            ++answered;
        });
        blocked.get_future().wait();
        table.run(context_, call, in(50), [&](auto o) { ++answered, late.set_value(o); });
        table.run(context_, call, in(60'000), [&](auto o) { ++answered, refused.set_value(o); });
        EXPECT_EQ(late.get_future().get().reason, "fs.read /none: took too long");
        EXPECT_EQ(refused.get_future().get().reason, "fs.read /none: too many calls are waiting");
        EXPECT_EQ(table.read(context_.sandbox, "/none", 10, in(10)).error().code,
                  ErrorCode::kTooMany);
        stuck.unlock();
    }
    EXPECT_EQ(answered, 3);
}

TEST_F(ToolTableTest, everyCallIsAnsweredOnce) {
    std::atomic<int> answers = 0;
    {
        TableOptions options;
        options.max_queue = 100;
        ToolTable table(options, {&runtime_}, os::systemClock());
        for (int i = 0; i < 500; ++i)
            table.run(context_, {.name = "fs.read", .arguments = R"({"path":"/none"})"}, in(i % 3),
                      [&](auto) { ++answers; });
    }
    EXPECT_EQ(answers, 500);
}

}  // namespace
}  // namespace aegis::tools
