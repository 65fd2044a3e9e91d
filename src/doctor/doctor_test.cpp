#include "doctor/doctor.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

namespace aegis::doctor {
namespace {

constexpr std::uint64_t kGiB = 1U << 30U;

/// A machine in good health, until a test takes something away.
class FakeMachine : public Machine {
  public:
    UtcTime time{1'795'000'000'000};
    std::string release = "6.1.0-32-amd64";
    bool root = true;
    std::map<std::string, std::string> files{
        {"/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"},
        {"/proc/filesystems", "nodev\tproc\nnodev\toverlay\n\text4\n"}};
    bool mkfs = true;
    std::map<std::string, os::PathFacts> paths{{"/", {true, true, true, true, 0755}},
                                               {"/var/lib/aegis", {true, true, true, true, 0700}},
                                               {"/script.yaml", {true, false, true, true, 0644}}};
    os::Space room{4096, 100 * kGiB, 50 * kGiB, 50 * kGiB, 1000};
    os::OpenFileLimits limits{1024, 1'048'576};
    bool synchronized = true;
    Status namespaces, filters, loops, address;
    Status ids;
    Result<std::string> delegated = std::string("/sys/fs/cgroup/user.slice/x");
    Result<int> landlock_abi = 4;
    Result<std::string> engine_version = std::string("version 20.10.24");
    std::map<std::string, bool> images{{"aegis/python:3.11", true}};
    ErrorCode image_error = ErrorCode::kNotFound;
    std::map<std::string, json::Value> daemons{{"localhost:9090", {{"version", "1.2.3"}}}};
    Error no_daemon{ErrorCode::kUnreachable, "connection refused"};
    std::map<std::string, ProviderAnswer> answers;
    std::vector<ProviderRequest> asked;
    std::mutex mutex;

    UtcTime now() override { return time; }
    std::string kernelRelease() override { return release; }
    bool isRoot() override { return root; }
    Result<std::string> delegatedCgroup() override { return delegated; }
    Status subordinateIds() override { return ids; }
    Result<std::string> read(const std::string& path) override {
        auto found = files.find(path);
        if (found == files.end()) return {ErrorCode::kNotFound, path};
        return found->second;
    }
    bool hasProgram(const std::string&) override { return mkfs; }
    Result<os::PathFacts> path(const std::string& path) override {
        auto found = paths.find(path);
        return found == paths.end() ? os::PathFacts{} : found->second;
    }
    Result<os::Space> space(const std::string&) override { return room; }
    os::OpenFileLimits openFiles() override { return limits; }
    bool clockSynchronized() override { return synchronized; }
    Status userNamespace() override { return namespaces; }
    Result<int> landlock() override { return landlock_abi; }
    Status seccomp() override { return filters; }
    Status loopDevices() override { return loops; }
    Status listen(const config::Address&) override { return address; }
    Result<ProviderAnswer> get(const ProviderRequest& request) override {
        std::lock_guard lock(mutex);
        asked.push_back(request);
        auto found = answers.find(request.url);
        if (found == answers.end()) return {ErrorCode::kUnreachable, "connection refused"};
        return found->second;
    }
    Result<std::string> engine() override { return engine_version; }
    Status image(const std::string& reference) override {
        if (images[reference]) return {};
        return {image_error, "no such image"};
    }
    Result<json::Value> daemon(const std::string& where) override {
        auto found = daemons.find(where);
        if (found == daemons.end()) return no_daemon;
        return found->second;
    }
};

config::ProviderConfig provider(config::ProviderType type, std::string key,
                                std::string base_url = "") {
    config::ProviderConfig out;
    out.name = "main";
    out.type = type;
    out.model = "m";
    out.api_key = Secret(std::move(key));
    out.api_key_variable = "MAIN_KEY";
    out.base_url = std::move(base_url);
    return out;
}

Subject subject() {
    Subject out;
    out.config_path = "aegis-config.yaml";
    out.config_found = true;
    out.data_dir = "/var/lib/aegis";
    out.daemon_addr = "localhost:9090";
    out.version = "1.2.3";
    out.recipes = {"aegis/python:3.11"};
    return out;
}

State worst(const Findings& findings) {
    State out = State::kOk;
    for (const auto& one : findings)
        out = std::max(out, one.state);
    return out;
}

const Finding* findingOf(const Findings& findings, std::string_view check) {
    for (const auto& one : findings)
        if (one.check == check) return &one;
    return nullptr;
}

/// The one finding that is not well; its hint must say what to do.
Finding ailing(const Findings& findings) {
    Finding out;
    int count = 0;
    for (const auto& one : findings)
        if (one.state != State::kOk) out = one, ++count;
    EXPECT_EQ(count, 1);
    EXPECT_FALSE(out.hint.empty()) << out.check;
    return out;
}

TEST(Doctor, AMachineInGoodHealthIsReady) {
    auto machine = std::make_shared<FakeMachine>();
    machine->answers["https://api.openai.com/v1/models"] = {200, "", "{}", 12};
    auto given = subject();
    given.config.llm.providers = {provider(config::ProviderType::kOpenai, "sk-1")};
    auto report = examine(machine, given, 5000);
    for (const auto& one : report.findings) {
        EXPECT_EQ(one.state, State::kOk) << one.check << ": " << one.detail;
        EXPECT_TRUE(one.hint.empty()) << one.check;
    }
    EXPECT_TRUE(report.usable());
    EXPECT_FALSE(report.late);
    EXPECT_EQ(report.exitCode(), 0);
    auto text = report.text(false);
    EXPECT_NE(text.find("ok    kernel"), std::string::npos) << text;
    EXPECT_NE(text.find("\nReady to run agents (0 warnings)\n"), std::string::npos) << text;
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(Doctor, TextAndJsonSayTheSame) {
    Report report;
    report.version = "1.2.3";
    report.findings = {{State::kOk, "a", "well", ""},
                       {State::kWarn, "longer", "so\x1b[31m so", "do this"},
                       {State::kFail, "c", "ill", "do that"}};
    EXPECT_EQ(report.text(false),
              "ok    a       well\n"
              "warn  longer  so\\x1b[31m so\n"
              "              hint: do this\n"
              "fail  c       ill\n"
              "              hint: do that\n"
              "\nNot ready to run agents: 1 problem, 1 warning\n");
    EXPECT_NE(report.text(true).find("\x1b[31mfail\x1b[0m  c"), std::string::npos);
    auto record = report.toJson();
    EXPECT_EQ(record["usable"], false);
    EXPECT_EQ(record["version"], "1.2.3");
    EXPECT_EQ(json::dump(record["checks"].get_array()[2]),
              R"({"status":"fail","check":"c","detail":"ill","hint":"do that"})");
    EXPECT_EQ(report.exitCode(), 10);
}

TEST(Doctor, AConfigurationAtFaultIsAUsageError) {
    auto machine = std::make_shared<FakeMachine>();
    auto given = subject();
    Error error(ErrorCode::kInvalid, "invalid configuration: 1 problem");
    error.details.push_back({"server.addr", "a.yaml", 1, 2, "is no address"});
    given.config_error = error;
    auto report = examine(machine, given, 5000);
    EXPECT_EQ(report.exitCode(), 2);
    const auto* finding = findingOf(report.findings, "configuration");
    ASSERT_NE(finding, nullptr);
    EXPECT_NE(finding->detail.find("a.yaml:1:2: server.addr"), std::string::npos);
    EXPECT_EQ(findingOf(report.findings, "provider"), nullptr) << "nothing is known of providers";
}

class HangingMachine : public FakeMachine {
  public:
    std::mutex gate;
    std::condition_variable opened;
    bool open = false;
    Result<std::string> engine() override {
        std::unique_lock lock(gate);
        opened.wait(lock, [&] { return open; });
        return std::string("late");
    }
    void release() {
        std::lock_guard lock(gate);
        open = true;
        opened.notify_all();
    }
};

TEST(Doctor, AHangingCheckDoesNotHoldUpTheOthers) {
    auto machine = std::make_shared<HangingMachine>();
    auto report = examine(machine, subject(), 200);
    EXPECT_TRUE(report.late);
    EXPECT_FALSE(report.usable());
    const auto* engine = findingOf(report.findings, "container engine");
    ASSERT_NE(engine, nullptr);
    EXPECT_EQ(engine->state, State::kFail);
    EXPECT_EQ(engine->detail, "no answer within 0.2 s");
    EXPECT_NE(findingOf(report.findings, "kernel"), nullptr);
    // Its thread ends before the test does: nothing is left behind.
    machine->release();
    while (machine.use_count() > 1)
        std::this_thread::yield();
}

TEST(Checks, System) {
    FakeMachine machine;
    machine.release = "5.4.0-generic";
    EXPECT_EQ(ailing(checkSystem(machine, subject())).state, State::kFail);
    machine.release = "5.8.1";
    EXPECT_EQ(worst(checkSystem(machine, subject())), State::kOk);
    machine.root = false;
    EXPECT_EQ(ailing(checkSystem(machine, subject())).state, State::kWarn);
}

TEST(Checks, AnOrdinaryUserNeedsADelegatedCgroupAndIds) {
    FakeMachine machine;
    machine.root = false;
    auto given = subject();
    given.process_needed = true;
    EXPECT_EQ(worst(checkCgroups(machine, given)), State::kOk);
    EXPECT_EQ(worst(checkSandboxing(machine, given)), State::kOk);
    EXPECT_EQ(ailing(checkVolumes(machine, given)).state, State::kWarn);
    machine.delegated = Error(ErrorCode::kUnsupported, "not delegated", "systemd-run");
    machine.ids = Error(ErrorCode::kUnsupported, "no range", "usermod");
    EXPECT_EQ(ailing(checkCgroups(machine, given)).state, State::kFail);
    EXPECT_EQ(ailing(checkSandboxing(machine, given)).check, "subordinate ids");
    EXPECT_EQ(ailing(checkSandboxing(machine, given)).state, State::kFail);
    given.process_needed = false;
    EXPECT_EQ(ailing(checkCgroups(machine, given)).state, State::kWarn);
    EXPECT_EQ(ailing(checkSandboxing(machine, given)).state, State::kWarn);
}

TEST(Checks, TheServicesConfigurationIsPointedOut) {
    FakeMachine machine;
    auto given = subject();
    given.config_found = false;
    EXPECT_EQ(worst(checkConfiguration(machine, given)), State::kOk);
    machine.paths["/etc/aegis/aegis-config.yaml"] = {true, false, true, true, 0644};
    EXPECT_NE(ailing(checkConfiguration(machine, given)).hint.find("--config /etc/aegis"),
              std::string::npos);
}

TEST(Checks, Engine) {
    FakeMachine machine;
    auto given = subject();
    machine.engine_version = Error(ErrorCode::kUnreachable, "cannot be reached");
    EXPECT_EQ(ailing(checkEngine(machine, given)).state, State::kFail);
    given.docker_needed = false;
    EXPECT_EQ(ailing(checkEngine(machine, given)).state, State::kWarn);
}

TEST(Checks, BaseImages) {
    FakeMachine machine;
    auto given = subject();
    const auto detail = [&] { return checkImages(machine, given)[0].detail; };
    EXPECT_EQ(detail(), "aegis/python:3.11 (in the container engine)");
    given.unpacked = {"aegis/python:3.11"};
    EXPECT_EQ(detail(), "aegis/python:3.11 (unpacked, and in the container engine)");
    machine.images.clear();
    auto finding = ailing(checkImages(machine, given));
    EXPECT_EQ(finding.state, State::kWarn);
    EXPECT_EQ(finding.hint, "aegis image build python 3.11");
    given.unpacked.clear();
    given.recipes.clear();
    EXPECT_EQ(ailing(checkImages(machine, given)).hint, "docker pull aegis/python:3.11");
}

TEST(Checks, ABaseImageNeedsNoEngineWhereSandboxesAreEmbedded) {
    FakeMachine machine;
    machine.image_error = ErrorCode::kUnreachable;
    machine.images.clear();
    auto given = subject();
    given.docker_needed = false;
    given.unpacked = {"aegis/python:3.11"};
    EXPECT_EQ(worst(checkImages(machine, given)), State::kOk);
    given.docker_needed = true;
    EXPECT_EQ(ailing(checkImages(machine, given)).state, State::kWarn);
    given.docker_needed = false;
    given.unpacked.clear();
    EXPECT_EQ(ailing(checkImages(machine, given)).hint, "aegis image build python 3.11");
}

TEST(Checks, Cgroups) {
    FakeMachine machine;
    EXPECT_EQ(checkCgroups(machine, subject())[0].detail, "v2 with cpu, memory, pids");
    machine.files.clear();
    machine.files["/proc/mounts"] =
        "proc /proc proc rw 0 0\n"
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n"
        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
        "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n";
    EXPECT_EQ(checkCgroups(machine, subject())[0].detail, "v1 with cpu, memory, pids");
    machine.files["/proc/mounts"] =
        "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
        "x /memory ext4 rw,memory,pids 0 0\n";
    auto finding = ailing(checkCgroups(machine, subject()));
    EXPECT_EQ(finding.state, State::kFail);
    EXPECT_EQ(finding.detail, "v1 without memory, pids");
}

TEST(Checks, SandboxingIsNeededWhereSandboxesAreEmbedded) {
    FakeMachine machine;
    machine.namespaces = Error(ErrorCode::kPermissionDenied, "unshare: Operation not permitted");
    auto given = subject();
    EXPECT_EQ(ailing(checkSandboxing(machine, given)).state, State::kWarn);
    given.process_needed = true;
    EXPECT_EQ(ailing(checkSandboxing(machine, given)).state, State::kFail);
    machine.namespaces = {};
    machine.files["/proc/filesystems"] = "nodev\toverlayish\n";
    EXPECT_EQ(ailing(checkSandboxing(machine, given)).check, "overlayfs");
    machine.files["/proc/filesystems"] = "nodev\toverlay\n";
    machine.landlock_abi = Error(ErrorCode::kUnsupported, "the kernel has none");
    EXPECT_EQ(ailing(checkSandboxing(machine, given)).state, State::kWarn);
    machine.landlock_abi = 1;
    machine.filters = Error(ErrorCode::kIo, "seccomp: Invalid argument");
    EXPECT_EQ(ailing(checkSandboxing(machine, given)).state, State::kFail);
}

TEST(Checks, Volumes) {
    FakeMachine machine;
    machine.loops = Error(ErrorCode::kNotFound, "/dev/loop-control", "modprobe loop");
    EXPECT_EQ(ailing(checkVolumes(machine, subject())).hint, "modprobe loop");
    machine.loops = {};
    machine.mkfs = false;
    EXPECT_EQ(ailing(checkVolumes(machine, subject())).state, State::kFail);
}

TEST(Checks, DataDirectory) {
    FakeMachine machine;
    auto given = subject();
    auto& dir = machine.paths["/var/lib/aegis"];
    auto state = [&] { return ailing(checkStorage(machine, given)).state; };
    dir.mode = 0755;
    EXPECT_EQ(state(), State::kWarn);
    dir.mode = 0700;
    dir.ours = false;
    EXPECT_EQ(state(), State::kWarn);
    dir.writable = false;
    EXPECT_EQ(state(), State::kFail);
    dir.directory = false;
    EXPECT_EQ(state(), State::kFail);
    machine.paths.erase("/var/lib/aegis");
    EXPECT_EQ(worst(checkStorage(machine, given)), State::kOk) << "the first start makes it";
    machine.paths["/"].writable = false;
    EXPECT_EQ(state(), State::kFail);
}

TEST(Checks, DiskSpace) {
    FakeMachine machine;
    auto given = subject();
    machine.room.available_bytes = kGiB / 2;
    EXPECT_EQ(ailing(checkStorage(machine, given)).state, State::kWarn);
    machine.room.available_bytes = 5U << 20U;
    auto finding = ailing(checkStorage(machine, given));
    EXPECT_EQ(finding.state, State::kFail);
    EXPECT_EQ(finding.detail, "5 MiB free at /var/lib/aegis");
    machine.room.available_bytes = 50 * kGiB;
    given.config.storage.volume_dir = "/volumes";
    EXPECT_EQ(checkStorage(machine, given).size(), 3U);
}

TEST(Checks, LimitsAndClock) {
    FakeMachine machine;
    machine.limits = {1024, 1024};
    EXPECT_EQ(ailing(checkLimits(machine, subject())).state, State::kWarn);
    machine.synchronized = false;
    EXPECT_EQ(ailing(checkClock(machine, subject())).state, State::kWarn);
    machine.time = {86'400'000};
    EXPECT_EQ(ailing(checkClock(machine, subject())).state, State::kFail);
}

TEST(Checks, DaemonAndItsAddress) {
    FakeMachine machine;
    auto given = subject();
    machine.address = Error(ErrorCode::kConflict, "in use");
    EXPECT_EQ(worst(checkDaemon(machine, given)), State::kOk) << "in use by the daemon";
    given.version = "1.3.0";
    EXPECT_NE(ailing(checkDaemon(machine, given)).detail.find("version 1.2.3"), std::string::npos);
    given.version = "1.2.3";
    // The daemon that is asked for lives elsewhere; the one here is known by its answer.
    given.daemon_addr = "far:9090";
    machine.daemons["127.0.0.1:9090"] = {{"version", "1.2.3"}};
    EXPECT_EQ(ailing(checkDaemon(machine, given)).check, "daemon");
    machine.daemons.clear();
    auto findings = checkDaemon(machine, given);
    ASSERT_NE(findingOf(findings, "api address"), nullptr);
    EXPECT_EQ(findingOf(findings, "api address")->state, State::kFail);
    machine.no_daemon = Error(ErrorCode::kUnauthenticated, "token");
    EXPECT_EQ(ailing(checkDaemon(machine, given)).hint, "give --token or set AEGIS_TOKEN");
    machine.address = {};
    machine.no_daemon = Error(ErrorCode::kUnreachable, "refused");
    EXPECT_EQ(findingOf(checkDaemon(machine, given), "api address")->detail,
              "127.0.0.1:9090 is free");
}

TEST(Providers, TheKeyIsSentAndNeverShown) {
    FakeMachine machine;
    machine.answers["https://api.openai.com/v1/models"] = {401, "", "bad key sk-1", 5};
    auto finding = ailing(checkProvider(machine, provider(config::ProviderType::kOpenai, "sk-1")));
    EXPECT_EQ(finding.detail, "api.openai.com refuses the key (HTTP 401)");
    EXPECT_EQ(finding.hint, "set MAIN_KEY to a valid key in the daemon's environment");
    ASSERT_EQ(machine.asked.size(), 1U);
    EXPECT_EQ(machine.asked[0].secret_headers[0].second.reveal(), "Bearer sk-1");

    auto own = provider(config::ProviderType::kOpenai, "sk-1", "http://u:sk-1@own:8000/v1/");
    finding = ailing(checkProvider(machine, own));
    EXPECT_EQ(finding.detail, "own:8000 cannot be reached (connection refused)");
}

TEST(Providers, EachIsAskedItsOwnWay) {
    FakeMachine machine;
    machine.answers["https://api.anthropic.com/v1/models"] = {200, "", "{}", 5};
    EXPECT_EQ(worst(checkProvider(machine, provider(config::ProviderType::kAnthropic, "k"))),
              State::kOk);
    EXPECT_EQ(machine.asked[0].secret_headers[0].first, "x-api-key");

    auto own = provider(config::ProviderType::kOpenai, "", "http://own:8000/v1");
    machine.answers["http://own:8000/v1/models"] = {404, "", "", 5};
    EXPECT_EQ(worst(checkProvider(machine, own)), State::kOk) << "need not list models";
    machine.answers["http://own:8000/v1/models"] = {503, "", "", 5};
    EXPECT_EQ(ailing(checkProvider(machine, own)).detail, "own:8000 answers with HTTP 503");

    auto ollama = provider(config::ProviderType::kOllama, "");
    machine.answers["http://localhost:11434/api/tags"] = {200, "",
                                                          R"({"models":[{"name":"other:7b"}]})", 5};
    EXPECT_EQ(ailing(checkProvider(machine, ollama)).hint, "ollama pull m; it has: other:7b");
    machine.answers["http://localhost:11434/api/tags"].body = R"({"models":[{"name":"m:latest"}]})";
    EXPECT_EQ(worst(checkProvider(machine, ollama)), State::kOk);

    auto scripted = provider(config::ProviderType::kScripted, "");
    scripted.script = "/script.yaml";
    EXPECT_EQ(worst(checkProvider(machine, scripted)), State::kOk);
    scripted.script = "/none.yaml";
    EXPECT_EQ(worst(checkProvider(machine, scripted)), State::kWarn);
}

TEST(Providers, AWrongClockIsSeenInTheirAnswers) {
    FakeMachine machine;
    auto own = provider(config::ProviderType::kOpenai, "", "http://own/v1");
    machine.answers["http://own/v1/models"] = {200, "Wed, 18 Nov 2026 20:26:40 GMT", "", 5};
    machine.time = {1'795'033'600'000 + 90'000};
    EXPECT_EQ(ailing(checkProvider(machine, own)).detail, "differs from that of own by 90 s");
    machine.time = {1'795'033'600'000 + 1000};
    EXPECT_EQ(worst(checkProvider(machine, own)), State::kOk);
    machine.answers["http://own/v1/models"].date = "yesterday";
    EXPECT_EQ(worst(checkProvider(machine, own)), State::kOk);
}

TEST(Providers, OneThatServesIsEnough) {
    auto machine = std::make_shared<FakeMachine>();
    machine->answers["http://own/v1/models"] = {200, "", "", 5};
    auto given = subject();
    given.config.llm.providers = {provider(config::ProviderType::kOpenai, ""),
                                  provider(config::ProviderType::kOpenai, "", "http://own/v1")};
    EXPECT_EQ(examine(machine, given, 5000).exitCode(), 0);
    machine->answers.clear();
    EXPECT_EQ(examine(machine, given, 5000).exitCode(), 10) << "unreachable, daemon or not";
    // A key that is missing here may be in the environment of the daemon that runs.
    given.config.llm.providers.pop_back();
    EXPECT_EQ(examine(machine, given, 5000).exitCode(), 0);
    machine->daemons.clear();
    EXPECT_EQ(examine(machine, given, 5000).exitCode(), 10);
}

TEST(Providers, NoneIsAFailureUnlessOllamaIsThere) {
    auto machine = std::make_shared<FakeMachine>();
    machine->daemons.clear();
    auto given = subject();
    given.config.llm.probe_ollama = true;
    EXPECT_EQ(examine(machine, given, 5000).exitCode(), 10);
    auto with_key = given;
    with_key.config.llm.providers = {provider(config::ProviderType::kOpenai, "sk-1")};
    EXPECT_TRUE(checkNoProvider(*machine, with_key).empty()) << "one made of a key will do";
    machine->answers["http://localhost:11434/api/tags"] = {200, "",
                                                           R"({"models":[{"name":"qwen:7b"}]})", 5};
    EXPECT_EQ(examine(machine, given, 5000).exitCode(), 0);
}

}  // namespace
}  // namespace aegis::doctor
