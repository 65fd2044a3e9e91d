#include "sandbox/common/payload.h"

#include <gtest/gtest.h>

namespace aegis::sandbox {
namespace {

ports::SandboxSpec specWith(std::string script) {
    ports::SandboxSpec spec;
    spec.startup_script = std::move(script);
    spec.prompt = std::make_shared<const std::string>("Do it.");
    return spec;
}

proto::ctl::Start startOf(const ports::SandboxSpec& spec) {
    auto start = payloadStart(spec, {}, "/tmp");
    EXPECT_TRUE(start);
    auto message = proto::ctl::parseHostMessage(start->message);
    EXPECT_TRUE(message);
    return std::get<proto::ctl::Start>(*message);
}

TEST(Payload, AStartupScriptComesFirst) {
    const auto plain = startOf(specWith(""));
    EXPECT_TRUE(plain.to_waiting);
    EXPECT_EQ(plain.command.argv.front(), "python3");
    const auto scripted = startOf(specWith("echo 'x'"));
    EXPECT_FALSE(scripted.to_waiting);
    const auto& argv = scripted.command.argv;
    ASSERT_GT(argv.size(), 5U);
    EXPECT_EQ(argv[0], "/bin/sh");
    EXPECT_EQ(argv[4], "echo 'x'");
    EXPECT_TRUE(std::equal(argv.begin() + 5, argv.end(), plain.command.argv.begin(),
                           plain.command.argv.end()));
    EXPECT_FALSE(startsManaged(specWith("x")));
}

TEST(Payload, ALongScriptAndALongPromptFitOneMessage) {
    auto spec = specWith(std::string(32 << 10, '#'));
    spec.prompt = std::make_shared<const std::string>(std::string(89 << 10, 'p'));
    auto start = payloadStart(spec, {}, "/tmp");
    ASSERT_TRUE(start) << start.error().message;
    EXPECT_TRUE(start->prompt);
}

TEST(Payload, KnowsHowAStartupScriptFails) {
    const std::string sign = "aegis: the startup script has failed\n";
    auto ended = [&](int code, std::string output) {
        ports::BootstrapExit exit;
        exit.exit_code = code;
        exit.standard_output = std::move(output);
        return exit;
    };
    auto failed = ended(3, sign);
    EXPECT_TRUE(tookStartupFailure(specWith("x"), failed));
    EXPECT_EQ(failed.standard_output, "");
    for (auto other : {ended(0, sign), ended(3, "x" + sign), ended(3, "")})
        EXPECT_FALSE(tookStartupFailure(specWith("x"), other));
    auto without = ended(3, sign);
    EXPECT_FALSE(tookStartupFailure(specWith(""), without));
    EXPECT_EQ(without.standard_output, sign);
}

}  // namespace
}  // namespace aegis::sandbox
