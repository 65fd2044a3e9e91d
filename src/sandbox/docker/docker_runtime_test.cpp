// Against the real Docker Engine.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <thread>

#include "os/files.h"
#include "sandbox/docker/runtime_fixture.h"
#include "text/json.h"

namespace aegis::sandbox {
namespace {

namespace fs = std::filesystem;

class DockerRuntimeTest : public DockerFixture {
  protected:
    /// An image made of an empty root, removed with the test's end.
    struct TestImage {
        TestImage(Engine& engine, std::string name, const std::string& tar,
                  const std::vector<std::string>& changes)
            : engine_(engine), name_(std::move(name)) {
            bool sent = false;
            auto made = engine_.importImage(
                [&]() -> Result<std::string> {
                    return std::exchange(sent, true) ? std::string() : tar;
                },
                name_, changes, soon());
            EXPECT_TRUE(made) << made.error().message;
        }
        ~TestImage() { EXPECT_TRUE(engine_.removeImage(name_, soon())); }
        Engine& engine_;
        std::string name_;
    };
};

const std::string kSleep = "import time; time.sleep(600)";

TEST_F(DockerRuntimeTest, RunsAsNobodyInParticularWithNothingToReach) {
    auto what = spec(R"(
import json, os, subprocess, socket, threading
status = dict(l.rstrip('\n').split(':\t', 1) for l in open('/proc/self/status') if ':\t' in l)
def writable(path):
    try:
        open(path + '/probe', 'w').close(); return True
    except OSError: return False
def refused(call):
    try: call(); return False
    except OSError as e: return e.errno
t = threading.Thread(target=lambda: None); t.start(); t.join()
print(json.dumps({
  'uid': [os.getuid(), os.getgid(), os.getgroups()], 'caps': status['CapEff'] + status['CapBnd'],
  'nnp': status['NoNewPrivs'], 'seccomp': status['Seccomp'], 'cwd': os.getcwd(),
  'writable': [p for p in ('/', '/etc', '/usr', '/tmp', '/aegis/bin', '/aegis/run', '/dev', '/run',
                            '/var/tmp') if writable(p)],
  'interfaces': sorted(os.listdir('/sys/class/net')),
  'names': [socket.gethostbyname(n) for n in ('localhost', 'aegis')],
  'routes': open('/proc/net/route').read().count('\n') - 1,
  'run': sorted(os.listdir('/aegis/run')),
  'init': refused(lambda: os.listdir('/proc/1/fd')), 'stdin': os.readlink('/proc/self/fd/0'),
  'netlink': refused(lambda: socket.socket(16, 3, 0)),
  'vsock': refused(lambda: socket.socket(40, 1, 0)),
  'sub': subprocess.run(['sh', '-c', 'cat | tr a-z A-Z'], input=b'ok',
                        capture_output=True).stdout.decode(),
  'tmp': os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize,
  'env': {k: os.environ.get(k) for k in ('HOME', 'AEGIS_X', 'AEGIS_ORCHESTRATOR_URL')},
  'unshare': subprocess.run(['unshare', '-U', 'true'], capture_output=True).returncode}))
)");
    what.env["AEGIS_X"] = "y";
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->exit_code, 0) << fate.exit->standard_error;
    const auto said = json::parse(fate.exit->standard_output);
    ASSERT_TRUE(said) << fate.exit->standard_output;
    auto field = [&](const char* name) { return json::dump(*json::find(*said, name)); };
    EXPECT_EQ(field("uid"), "[1000,1000,[1000]]");
    EXPECT_EQ(field("caps"), "\"00000000000000000000000000000000\"");
    EXPECT_EQ(field("nnp"), "\"1\"");
    EXPECT_EQ(field("seccomp"), "\"2\"");
    EXPECT_EQ(field("cwd"), "\"/tmp\"");
    EXPECT_EQ(field("writable"), "[\"/tmp\"]");
    EXPECT_EQ(field("interfaces"), "[\"lo\"]");
    EXPECT_EQ(field("names"), R"(["127.0.0.1","127.0.0.1"])");
    EXPECT_EQ(field("routes"), "0");
    EXPECT_EQ(field("run"), "[\"api.sock\"]");
    EXPECT_EQ(field("init"), std::to_string(EACCES));
    EXPECT_EQ(field("stdin"), "\"/dev/null\"");
    EXPECT_EQ(field("netlink"), std::to_string(EPERM));
    EXPECT_EQ(field("vsock"), std::to_string(EPERM));
    EXPECT_EQ(field("sub"), "\"OK\"");
    EXPECT_EQ(field("tmp"), std::to_string(16 << 20));
    EXPECT_EQ(field("env"), R"({"HOME":"/tmp","AEGIS_X":"y",)"
                            R"("AEGIS_ORCHESTRATOR_URL":"http://127.0.0.1:7411"})");
    EXPECT_NE(field("unshare"), "0");
    EXPECT_EQ(fate.info->runtime, "docker");
    EXPECT_EQ(fate.info->name.size(), 12U);
    closeNow(what.id);
}

TEST_F(DockerRuntimeTest, ReportsHowTheBootstrapEnded) {
    auto fate = runToEnd(spec("import sys; sys.stderr.write('bad'); sys.exit(3)"));
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->exit_code, 3);
    EXPECT_EQ(fate.exit->standard_error, "bad");
    EXPECT_TRUE(fate.exit->died.empty());
    EXPECT_FALSE(fate.exit->out_of_memory);

    fate = runToEnd(spec("import os; os.kill(os.getpid(), 9)"));
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->exit_code, std::nullopt);
    EXPECT_EQ(fate.exit->signal, SIGKILL);
    EXPECT_FALSE(fate.exit->out_of_memory);
}

TEST_F(DockerRuntimeTest, OutputIsDrainedCountedAndCapped) {
    const auto fate =
        runToEnd(spec("import os\nfor _ in range(256): os.write(1, b'x' * (1 << 20))"));
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->exit_code, 0);
    EXPECT_EQ(fate.exit->stdout_bytes, 256ULL << 20);
    EXPECT_EQ(fate.exit->standard_output.size(), 1U << 20);
}

TEST_F(DockerRuntimeTest, AnOutOfMemoryKillOfAnyProcessIsTold) {
    auto what = spec(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'x = bytearray(1 << 30)'])\n");
    what.memory_bytes = 48 << 20;
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->exit_code, 0) << "the bootstrap itself survived";
    EXPECT_TRUE(fate.exit->out_of_memory);
}

TEST_F(DockerRuntimeTest, PromptsOfEveryKindArriveWhole) {
    const std::string big = "print(len('''" + std::string(3 << 20, 'p') + "'''))";
    auto fate = runToEnd(spec(big));
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->standard_output, std::to_string(3 << 20) + "\n");

    const std::string edge = "print(len('''" + std::string(90 << 10, 'p') + "'''))";
    auto crowded = spec(edge);
    for (int i = 0; i < 60; ++i)
        crowded.env["V" + std::to_string(i)] = std::string(1000, 'v');
    fate = runToEnd(crowded);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->standard_output, std::to_string(90 << 10) + "\n");
}

TEST_F(DockerRuntimeTest, CommandsRunAfterTheEndOnly) {
    const auto what = spec("open('/tmp/made', 'w').write('here')\nimport time; time.sleep(0.3)");
    runtime_->start(what, soon(), sink_);
    ASSERT_TRUE(sink_.started(what.id).info);
    EXPECT_EQ(runCommand(what.id, {"true"}).error().code, ErrorCode::kConflict);
    ASSERT_TRUE(sink_.finished(what.id).exit);

    auto result = runCommand(what.id, {"sh", "-c", "cat /tmp/made; echo no >&2; exit 4"});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->exit_code, 4);
    EXPECT_EQ(result->standard_output, "here");
    EXPECT_EQ(result->standard_error, "no\n");
    EXPECT_EQ(runCommand(what.id, {"no-such-command"})->exit_code, 127);
    EXPECT_TRUE(runCommand(what.id, {"sleep", "60"}, 300)->timed_out);
    EXPECT_EQ(runCommand(what.id, {"true"})->exit_code, 0);
    closeNow(what.id);
    EXPECT_EQ(runCommand(what.id, {"true"}).error().code, ErrorCode::kNotFound);
}

TEST_F(DockerRuntimeTest, RootShowsWhatTheSandboxSees) {
    const auto what = spec("open('/tmp/seen', 'w').write('inside')\nprint('', flush=True)");
    ASSERT_TRUE(runToEnd(what).exit);
    auto root = runtime_->root(what.id);
    ASSERT_TRUE(root) << root.error().message;
    os::Fd file(::openat(root->get(), "tmp/seen", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file);
    EXPECT_EQ(*os::readAll(file.get(), 100, "seen"), "inside");
    closeNow(what.id);
    EXPECT_FALSE(runtime_->root(what.id));
}

TEST_F(DockerRuntimeTest, ClosingKillsAtOnceAndTwiceIsFine) {
    const auto what = spec(
        "import signal, subprocess\n"
        "signal.signal(15, signal.SIG_IGN)\n"
        "for _ in range(8): subprocess.Popen(['sleep', '600'])\n" +
        kSleep);
    runtime_->start(what, soon(), sink_);
    ASSERT_TRUE(sink_.started(what.id).info);
    EXPECT_LT(closeNow(what.id), 300);
    const auto fate = sink_.finished(what.id);
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->died, "the sandbox was closed");
    EXPECT_LT(closeNow(what.id), 300);
    EXPECT_EQ(fate.calls, 2);
}

TEST_F(DockerRuntimeTest, ClosingDuringTheStartLeavesNothing) {
    for (int delay_ms : {0, 2, 10, 30, 60, 100, 130, 160, 200}) {
        const auto what = spec(kSleep);
        runtime_->start(what, soon(), sink_);
        std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
        closeNow(what.id);
        const auto fate = sink_.finished(what.id);
        EXPECT_TRUE(fate.error ? fate.error->code == ErrorCode::kCancelled : fate.exit.has_value());
        EXPECT_FALSE(runtime_->root(what.id));
    }
}

TEST_F(DockerRuntimeTest, AContainerThatIsKilledFromOutsideIsReported) {
    const auto what = spec(kSleep);
    runtime_->start(what, soon(), sink_);
    const auto up = sink_.started(what.id);
    ASSERT_TRUE(up.info);
    ASSERT_TRUE(runtime_->engine().killContainer(up.info->name, soon()));
    const auto fate = sink_.finished(what.id);
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->died, "the container died (exit code 137)");
    EXPECT_EQ(fate.exit->exit_code, std::nullopt);
    closeNow(what.id);
}

TEST_F(DockerRuntimeTest, VolumesAreMountedAsGranted) {
    const auto volume = dir_ + "/volume";
    fs::create_directory(volume);
    ASSERT_EQ(::chown(volume.c_str(), 1000, 1000), 0);
    std::ofstream(volume + "/given") << "content";
    auto what = spec(
        "print(open('/workspace/given').read())\n"
        "open('/workspace/out/new', 'w').write('made')\n"
        "try: open('/workspace/other', 'w')\n"
        "except OSError as e: print(e.errno)\n");
    what.volumes = {{VolumeId{}, "workspace", "/workspace", volume}};
    what.create_directories = {"/workspace/out"};
    what.mounts = {{"workspace", "", "/workspace", false},
                   {"workspace", "out", "/workspace/out", true}};
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->standard_output, "content\n" + std::to_string(EROFS) + "\n")
        << fate.exit->standard_error;
    EXPECT_EQ(*os::readFile(volume + "/out/new", 100), "made");
    closeNow(what.id);

    fs::remove_all(volume + "/out");
    fs::create_symlink("/etc", volume + "/out");
    what.id.ordinal = 2;
    const auto refused = runToEnd(what);
    ASSERT_TRUE(refused.error);
    EXPECT_EQ(refused.error->code, ErrorCode::kPermissionDenied);
    EXPECT_FALSE(refused.fatal);
}

// A file, and a place that the image reaches by a link of its own: both as in its mounts.
TEST_F(DockerRuntimeTest, EveryVolumeIsWithoutSetUidAndDevices) {
    const auto volume = dir_ + "/volume";
    fs::create_directories(volume + "/kept");
    ASSERT_EQ(::chown(volume.c_str(), 1000, 1000), 0);
    std::ofstream(volume + "/given") << "content";
    auto what = spec(
        "flags = {l.split()[4]: l.split()[5] for l in open('/proc/self/mountinfo')}\n"
        "for p in ('/workspace', '/kept', '/one/file', '/run/in', '/workspace/new/place'):\n"
        "    print(p, [f in flags[p].split(',') for f in ('ro', 'nosuid', 'nodev')])\n"
        "print(open('/one/file').read(), open('/var/run/in/given').read())\n"
        "open('/workspace/new/place/made', 'w').close()\n");
    what.volumes = {{VolumeId{}, "workspace", "/workspace", volume}};
    what.mounts = {{"workspace", "", "/workspace", true},
                   {"workspace", "kept", "/kept", false},
                   {"workspace", "given", "/one/file", false},
                   {"workspace", "", "/var/run/in", false},
                   {"workspace", "", "/workspace/new/place", true}};
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->standard_output,
              "/workspace [False, True, True]\n/kept [True, True, True]\n"
              "/one/file [True, True, True]\n/run/in [True, True, True]\n"
              "/workspace/new/place [False, True, True]\ncontent content\n")
        << fate.exit->standard_error;
    EXPECT_TRUE(fs::exists(volume + "/made"));
    closeNow(what.id);
}

TEST_F(DockerRuntimeTest, FewProcessesAreEnforcedToo) {
    auto what = spec(kForks);
    what.pids = 5;
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->standard_output, "4\n") << "five, with the bootstrap itself";
}

TEST_F(DockerRuntimeTest, AnImageWithoutPythonSaysSo) {
    // A tar archive of nothing: two empty blocks.
    TestImage empty(runtime_->engine(), "aegis-test/empty:1", std::string(10240, '\0'), {});
    auto what = spec("x");
    what.image = "aegis-test/empty:1";
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.error);
    EXPECT_TRUE(fate.fatal);
    EXPECT_EQ(fate.error->message,
              "the image has no python3: aegis-test/empty:1 cannot run the bootstrap");
    EXPECT_TRUE(runtime_->sweep({}));
}

TEST_F(DockerRuntimeTest, AnImagesVolumesUserAndCommandAreNotHonoured) {
    // The base image with other settings. Its VOLUME must be neither writable nor stay behind.
    const std::string odd = "aegis-test/odd:1";
    const auto name = "aegis-test-" + node_.str();
    const auto made = "docker create --name " + name + " " + image_ +
                      " true >/dev/null && docker commit -c 'VOLUME /etc/apt' -c 'USER root'"
                      " -c 'ENTRYPOINT [\"/bin/false\"]' -c 'ENV GREETING=hello' -c 'WORKDIR /usr'"
                      " -c 'HEALTHCHECK CMD /bin/false' " +
                      name + " " + odd + " >/dev/null; docker rm " + name + " >/dev/null";
    ASSERT_EQ(std::system(made.c_str()), 0);
    const auto volumes = [] {
        std::size_t count = 0;
        for (const auto& entry : fs::directory_iterator("/var/lib/docker/volumes"))
            count += entry.is_directory();
        return count;
    };
    const auto before = volumes();
    auto what = spec(
        "import os\n"
        "print(os.getuid(), os.getcwd(), os.environ['GREETING'], end=' ')\n"
        "print(os.listdir('/etc/apt'))\n"
        "try: open('/etc/apt/x', 'w')\n"
        "except OSError as e: print(e.errno)\n");
    what.image = odd;
    what.cwd.clear();
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->standard_output, "1000 /usr hello []\n" + std::to_string(EROFS) + "\n")
        << fate.exit->standard_error;
    EXPECT_TRUE(runtime_->sweep({}));
    EXPECT_EQ(volumes(), before);
    EXPECT_TRUE(runtime_->engine().removeImage(odd, soon()));
}

TEST_F(DockerRuntimeTest, AMissingImageSaysHowToGetIt) {
    auto what = spec("x");
    what.image = "aegis/python:0.1";
    what.image_pull_policy = "IfNotPresent";
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.error);
    EXPECT_TRUE(fate.fatal);
    EXPECT_EQ(fate.error->message, "image aegis/python:0.1 is not on this machine");
    EXPECT_EQ(fate.error->hint, "aegis image build python 0.1");
    EXPECT_EQ(containers(), 0U);
}

TEST_F(DockerRuntimeTest, TheEnginesRefusalIsTold) {
    auto what = spec("x");
    what.memory_bytes = 1 << 20;  // Docker wants 6 MiB
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.error);
    EXPECT_TRUE(fate.fatal);
    EXPECT_NE(fate.error->message.find("emory"), std::string::npos) << fate.error->message;
}

TEST_F(DockerRuntimeTest, SweepKeepsWhatIsKept) {
    const auto one = spec(kSleep);
    const auto two = spec(kSleep);
    runtime_->start(one, soon(), sink_);
    runtime_->start(two, soon(), sink_);
    ASSERT_TRUE(sink_.started(one.id).info);
    ASSERT_TRUE(sink_.started(two.id).info);
    ASSERT_TRUE(runtime_->sweep({two.id}));
    EXPECT_EQ(containers(), 1U);
    EXPECT_TRUE(sink_.finished(one.id).exit);
    EXPECT_TRUE(runtime_->root(two.id));
    EXPECT_FALSE(runDirsEmpty());

    // A runtime that knows nothing of it, as after a crash, finds it by its labels.
    auto other = DockerRuntime::create(options("unix:///var/run/docker.sock"), os::systemRandom());
    ASSERT_TRUE(other);
    ASSERT_TRUE((*other)->sweep({two.id}));
    EXPECT_EQ(containers(), 1U);
    ASSERT_TRUE((*other)->sweep({}));
    EXPECT_EQ(containers(), 0U);
    EXPECT_TRUE(runDirsEmpty());
    EXPECT_FALSE(sink_.finished(two.id).exit->died.empty());
}

TEST_F(DockerRuntimeTest, StoppingTheRuntimeRemovesWhatRuns) {
    const auto one = spec(kSleep);
    const auto starting = spec(kSleep);
    runtime_->start(one, soon(), sink_);
    ASSERT_TRUE(sink_.started(one.id).info);
    runtime_->start(starting, soon(), sink_);
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    runtime_.reset();
    EXPECT_TRUE(sink_.finished(one.id).exit);
    EXPECT_TRUE(sink_.finished(starting.id).error);
    makeRuntime("unix:///var/run/docker.sock");
    EXPECT_EQ(containers(), 0U);
    EXPECT_TRUE(runDirsEmpty());
}

}  // namespace
}  // namespace aegis::sandbox
