#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "os/clock.h"
#include "sandbox/common/one_line.h"
#include "sandbox/common/payload.h"
#include "sandbox/docker/container_config.h"
#include "sandbox/docker/engine_answers.h"
#include "sandbox/docker/seccomp_profile.h"

namespace aegis::sandbox {
namespace {

NodeId testNode() { return NodeId::generate(os::systemRandom()); }

TEST(EngineAnswers, SplitsReferences) {
    auto split = [](std::string_view text) {
        const auto name = splitReference(text);
        return name.repository + " " + name.tag;
    };
    EXPECT_EQ(split("python"), "python latest");
    EXPECT_EQ(split("aegis/python:3.11"), "aegis/python 3.11");
    EXPECT_EQ(split("host:5000/a/b"), "host:5000/a/b latest");
    EXPECT_EQ(split("host:5000/a/b:c"), "host:5000/a/b c");
    EXPECT_EQ(split("a/b@sha256:00"), "a/b sha256:00");
    EXPECT_EQ(split("a/b:c@sha256:00"), "a/b sha256:00");
}

TEST(EngineAnswers, ErrorsAreOneCleanLine) {
    const auto error = engineError(404, R"({"message":"No such image: x\u001b[31m\nmore\n"})");
    EXPECT_EQ(error.code, ErrorCode::kNotFound);
    EXPECT_EQ(error.message, "Docker Engine: No such image: x [31m more");
    EXPECT_EQ(engineError(500, "<html>").message, "Docker Engine: HTTP status 500");
    EXPECT_EQ(engineError(503, "").code, ErrorCode::kUnavailable);
    EXPECT_LE(oneLine(std::string(100'000, 'x')).size(), 1024U);
    EXPECT_FALSE(progressError(*json::parse(R"({"errorDetail":{"message":"m"},"error":"m"})")));
    EXPECT_TRUE(progressError(*json::parse(R"({"status":"Pulling"})")));
}

TEST(EngineAnswers, RefusesWhatMakesNoSense) {
    EXPECT_FALSE(imageInfo(*json::parse(R"({"Config":{}})")));
    EXPECT_FALSE(containerState(*json::parse(R"({"State":"running"})")));
    EXPECT_FALSE(containerState(*json::parse(R"({"State":{"Pid":-4}})")));
    EXPECT_FALSE(containerList(*json::parse(R"([{"Id":"../../etc"}])")));
    EXPECT_FALSE(containerList(*json::parse(R"({"Id":"x"})")));
    EXPECT_FALSE(isContainerId(std::string(64, 'G')));
    const auto info = imageInfo(*json::parse(
        R"({"Id":"sha256:1","Config":{"Env":["A=b",7],"Volumes":{"/data":{}},"Cmd":["x"]}})"));
    ASSERT_TRUE(info);
    EXPECT_EQ(info->env, std::vector<std::string>{"A=b"});
    EXPECT_EQ(info->volumes, std::vector<std::string>{"/data"});
    EXPECT_TRUE(info->declares_command);
    EXPECT_EQ(loadedReference("Loaded image: a/b:c\n"), "a/b:c");
    EXPECT_EQ(loadedReference("Loaded image ID: sha256:1\n"), "sha256:1");
    EXPECT_EQ(loadedReference("Loading layer"), "");
}

TEST(SeccompProfile, AllowsAListAndNothingElse) {
    const auto profile = json::parse(seccompProfile());
    ASSERT_TRUE(profile);
    EXPECT_EQ(json::getString(*profile, "defaultAction"), "SCMP_ACT_ERRNO");
    std::set<std::string> allowed;
    for (const auto& rule : json::find(*profile, "syscalls")->get_array()) {
        if (json::find(rule, "args") != nullptr) continue;
        if (json::getString(rule, "action") != "SCMP_ACT_ALLOW") continue;
        for (const auto& name : json::find(rule, "names")->get_array())
            EXPECT_TRUE(allowed.insert(std::string(json::view(name.get_string()))).second);
    }
    for (const char* name : {"read", "execve", "futex", "recvmsg", "wait4", "openat2"})
        EXPECT_TRUE(allowed.contains(name)) << name;
    for (const char* name : {"socket",
                             "socketpair",
                             "clone",
                             "clone3",
                             "unshare",
                             "setns",
                             "mount",
                             "umount2",
                             "bpf",
                             "keyctl",
                             "add_key",
                             "userfaultfd",
                             "io_uring_setup",
                             "io_uring_enter",
                             "ptrace",
                             "process_vm_readv",
                             "perf_event_open",
                             "open_by_handle_at",
                             "pivot_root",
                             "fsopen",
                             "move_mount",
                             "personality",
                             "kexec_load",
                             "init_module",
                             "pidfd_getfd",
                             "inotify_init1",
                             "io_setup"})
        EXPECT_FALSE(allowed.contains(name)) << name;
}

struct ConfigTest : ::testing::Test {
    ConfigTest() {
        spec.id = {ExecutionId::generate(os::systemRandom()), 3};
        spec.agent_name = "python-coder";
        spec.iteration = 2;
        spec.cpu_millicores = 1500;
        spec.memory_bytes = 64 << 20;
        spec.tmp_bytes = 32 << 20;
        spec.pids = 100;
        image.id = "sha256:1";
        image.env = {"PATH=/opt/bin", "A=image", "B=image"};
        plan.spec = &spec;
        plan.node = testNode();
        plan.image = &image;
        plan.places = &places;
        plan.run.name = "01234567";
        plan.run.shared = "/run/aegis/n/01234567";
        plan.guest_dir = "/usr/share/aegis/guest";
        plan.host_cpus = 4;
    }
    json::Value host() { return *json::find(config = containerConfig(plan), "HostConfig"); }
    const json::Value* mountAt(std::string_view target) {
        hosted = host();
        for (const auto& mount : json::find(hosted, "Mounts")->get_array())
            if (json::getString(mount, "Target") == target) return &mount;
        return nullptr;
    }

    ports::SandboxSpec spec;
    ImageInfo image;
    std::vector<Place> places;
    ContainerPlan plan;
    json::Value config, hosted;
};

TEST_F(ConfigTest, DeniesByDefault) {
    const auto value = host();
    EXPECT_EQ(json::getString(config, "User"), "1000:1000");
    EXPECT_EQ(json::getString(value, "NetworkMode"), "none");
    EXPECT_TRUE(json::getBool(config, "NetworkDisabled"));
    EXPECT_TRUE(json::getBool(value, "ReadonlyRootfs"));
    EXPECT_EQ(json::dump(*json::find(value, "CapDrop")), R"(["ALL"])");
    EXPECT_EQ(json::getInt(value, "NanoCpus"), 1'500'000'000);
    EXPECT_EQ(json::getInt(value, "Memory"), 64 << 20);
    EXPECT_EQ(json::getInt(value, "MemorySwap"), 64 << 20);
    EXPECT_EQ(json::getInt(value, "PidsLimit"), 101) << "PID 1 is not counted against the agent";
    EXPECT_EQ(json::dump(*json::find(value, "Tmpfs")),
              R"({"/tmp":"rw,exec,nosuid,nodev,mode=1777,size=33554432"})");
    const auto* labels = json::find(config, "Labels");
    EXPECT_EQ(json::getString(*labels, "aegis.node"), plan.node.str());
    EXPECT_EQ(json::getString(*labels, "aegis.sandbox"), "3");
    EXPECT_EQ(json::getString(*labels, "aegis.iteration"), "2");
}

TEST_F(ConfigTest, CapsWhatTheHostLacksAndKeepsRoomToStart) {
    plan.host_cpus = 1;
    spec.pids = 4;
    const auto value = host();
    EXPECT_EQ(json::getInt(value, "NanoCpus"), 1'000'000'000);
    EXPECT_EQ(json::getInt(value, "PidsLimit"), kPidsToStart);
}

TEST_F(ConfigTest, PlacesAreEmptyAndImageVolumesReadOnly) {
    image.volumes = {"/data", "/workspace", "/tmp"};
    places = {{"/workspace", true}, {"/one/file", false}};
    ASSERT_NE(mountAt("/workspace"), nullptr);
    EXPECT_TRUE(json::getBool(*mountAt("/workspace"), "ReadOnly"));
    EXPECT_EQ(json::getString(*mountAt("/workspace"), "Type"), "tmpfs");
    ASSERT_NE(mountAt("/one/file"), nullptr);
    EXPECT_TRUE(json::getBool(*mountAt("/one/file"), "ReadOnly"));
    EXPECT_EQ(json::getString(*mountAt("/one/file"), "Type"), "bind");
    ASSERT_NE(mountAt("/data"), nullptr);
    EXPECT_EQ(json::getString(*mountAt("/data"), "Type"), "tmpfs");
    EXPECT_TRUE(json::getBool(*mountAt("/data"), "ReadOnly"));
    EXPECT_EQ(mountAt("/tmp"), nullptr) << "the tmpfs covers it";
    EXPECT_TRUE(json::getBool(*mountAt("/aegis/run"), "ReadOnly"));
    EXPECT_TRUE(json::getBool(*mountAt("/aegis/bin"), "ReadOnly"));
    ASSERT_NE(mountAt("/etc/hosts"), nullptr);
    EXPECT_TRUE(json::getBool(*mountAt("/etc/hosts"), "ReadOnly"));
    places = {{"/etc", true}};
    EXPECT_EQ(mountAt("/etc/hosts"), nullptr) << "a volume decides what is in it";
}

TEST_F(ConfigTest, EnvironmentIsTheImagesThenOurs) {
    spec.env = {{"B", "spec"}, {"OPENAI_API_KEY", "given"}};
    const auto env = payloadEnv(spec, {image.env, image.working_dir}, 7411);
    auto has = [&](const std::string& entry) {
        return std::find(env.begin(), env.end(), entry) != env.end();
    };
    EXPECT_TRUE(has("PATH=/opt/bin"));
    EXPECT_TRUE(has("A=image"));
    EXPECT_TRUE(has("B=spec"));
    EXPECT_TRUE(has("HOME=/tmp"));
    EXPECT_TRUE(has("AEGIS_ORCHESTRATOR_URL=http://127.0.0.1:7411"));
    EXPECT_TRUE(has("OPENAI_BASE_URL=http://127.0.0.1:7411/v1"));
    EXPECT_TRUE(has("OPENAI_API_KEY=given"));
    EXPECT_EQ(workingDirectory(spec, {{}, image.working_dir}), "/tmp");
    image.working_dir = "/app";
    EXPECT_EQ(workingDirectory(spec, {{}, image.working_dir}), "/app");
    spec.cwd = "/workspace";
    EXPECT_EQ(workingDirectory(spec, {{}, image.working_dir}), "/workspace");
}

}  // namespace
}  // namespace aegis::sandbox
