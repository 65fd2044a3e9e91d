#include "tools/cmd/cmd_run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace aegis::tools {
namespace {

using Verdict = ports::ToolAdmission::Verdict;

agent::Manifest manifestWithVolume() {
    agent::Manifest manifest;
    manifest.volumes.push_back({.name = "workspace", .mount_point = "/workspace"});
    return manifest;
}

ports::ToolAdmission admit(std::string arguments, CmdOptions options = {},
                           const agent::Manifest& manifest = manifestWithVolume()) {
    return CmdRun(std::move(options))
        .admit(manifest, {.id = "1", .name = "cmd.run", .arguments = std::move(arguments)});
}

TEST(CmdRun, dispatchesWithDefaults) {
    auto admitted = admit(R"({"command":"python","args":["/workspace/solution.py"]})");
    ASSERT_EQ(admitted.verdict, Verdict::kDispatch);
    EXPECT_TRUE(admitted.barrier);
    EXPECT_EQ(admitted.summary, "python /workspace/solution.py");
    EXPECT_EQ(admitted.dispatch.command, "python");
    EXPECT_EQ(admitted.dispatch.args, std::vector<std::string>{"/workspace/solution.py"});
    EXPECT_EQ(admitted.dispatch.cwd, "/workspace");
    EXPECT_EQ(admitted.dispatch.timeout_secs, 60);
    EXPECT_EQ(admitted.dispatch.max_output_bytes, 1048576U);
}

TEST(CmdRun, takesEveryArgument) {
    auto admitted = admit(
        R"({"command":"sh","args":["-c","a\nb"],"cwd":"sub","env":{"A_1":"x"},"timeout":1.5})");
    ASSERT_EQ(admitted.verdict, Verdict::kDispatch) << admitted.reason;
    EXPECT_EQ(admitted.summary, "sh -c a\\nb");
    EXPECT_EQ(admitted.dispatch.cwd, "/workspace/sub");
    EXPECT_EQ(admitted.dispatch.timeout_secs, 2);
    ASSERT_EQ(admitted.dispatch.env.size(), 1U);
    EXPECT_EQ(admitted.dispatch.env[0].second, "x");
    EXPECT_EQ(admit(R"({"command":"ls","cwd":"/tmp"})").dispatch.cwd, "/tmp");
    EXPECT_EQ(admit(R"({"command":"ls"})", {}, agent::Manifest{}).dispatch.cwd, "/tmp");
}

TEST(CmdRun, refusesWithHelp) {
    EXPECT_EQ(admit(R"({"cmd":"ls"})").reason,
              "cmd.run: unknown argument \"cmd\"; known: command, args, cwd, env, timeout");
    EXPECT_EQ(admit(R"({"command":""})").reason, "cmd.run: argument \"command\" is empty");
    EXPECT_NE(admit(R"({"command":"ls -la | wc"})").reason.find("one program"), std::string::npos);
    for (const char* timeout : {"0", "-1", "3601", "1e9"})
        EXPECT_EQ(admit(fmt::format(R"({{"command":"ls","timeout":{}}})", timeout)).reason,
                  "cmd.run ls: argument \"timeout\" must be 1 to 3600 seconds");
    EXPECT_NE(admit(R"({"command":"ls","args":["a\u0000b"]})").reason.find("NUL"),
              std::string::npos);
    EXPECT_NE(admit(R"({"command":"ls","env":{"A=B":"x"}})").reason.find("env"), std::string::npos);
    EXPECT_NE(admit(fmt::format(R"({{"command":"ls","args":["{}"]}})", std::string(140000, 'a')))
                  .reason.find("longer than"),
              std::string::npos);
    EXPECT_EQ(admit("nonsense").verdict, Verdict::kRefused);
}

TEST(CmdRun, allowlists) {
    CmdOptions options;
    options.subcommand_allowlist = {{"git", {"status", "diff"}}, {"ls", {}}};
    EXPECT_EQ(admit(R"({"command":"git","args":["status"]})", options).verdict, Verdict::kDispatch);
    EXPECT_EQ(admit(R"({"command":"ls","args":["-l"]})", options).verdict, Verdict::kDispatch);
    EXPECT_EQ(admit(R"({"command":"git","args":["push"]})", options).reason,
              "cmd.run git push: not allowed by the node's subcommand_allowlist; allowed first "
              "arguments: status, diff");
    EXPECT_EQ(admit(R"({"command":"git"})", options).verdict, Verdict::kRefused);
    EXPECT_EQ(admit(R"({"command":"/workspace/git","args":["status"]})", options).verdict,
              Verdict::kRefused);
    auto manifest = manifestWithVolume();
    manifest.tools = {{.name = "cmd.run", .subcommand_allowlist = {{"ls", {"-a"}}}}};
    EXPECT_EQ(admit(R"({"command":"ls","args":["-a"]})", options, manifest).verdict,
              Verdict::kDispatch);
    EXPECT_NE(admit(R"({"command":"git","args":["status"]})", options, manifest)
                  .reason.find("the manifest's"),
              std::string::npos);
}

TEST(CmdRun, finishTellsTheModel) {
    CmdRun tool{{}};
    ports::ToolCall call{.id = "1", .name = "cmd.run", .arguments = R"({"command":"false"})"};
    auto failed = tool.finish(call, {.exit_code = 1,
                                     .standard_output = "a\"b\n",
                                     .standard_error = "\xff",
                                     .duration_ms = 1,
                                     .truncated = true});
    EXPECT_FALSE(failed.ok);
    EXPECT_EQ(failed.exit_code, 1);
    EXPECT_EQ(failed.summary, "false");
    EXPECT_EQ(failed.reason, "exit code 1");
    EXPECT_EQ(failed.text,
              "{\"exit_code\":1,\"stdout\":\"a\\\"b\\n\",\"stderr\":\"\xEF\xBF\xBD\",\"truncated\":"
              "true}");
    EXPECT_TRUE(tool.finish(call, {}).ok);
}

}  // namespace
}  // namespace aegis::tools
