// Containers started ahead, on the real Docker Engine.
#include <fcntl.h>
#include <sys/stat.h>

#include "os/files.h"
#include "sandbox/docker/runtime_fixture.h"
#include "sandbox/docker/warm.h"

namespace aegis::sandbox {
namespace {

namespace fs = std::filesystem;

class WarmDockerTest : public DockerFixture {
  protected:
    DockerOptions options(const std::string& host) override {
        auto out = DockerFixture::options(host);
        out.warm_size = 1;
        out.warm_max_size = 2;
        out.warm_max_idle_ms = max_idle_ms_;
        return out;
    }
    /// The short ids of the node's containers that are nobody's, once there are `count`.
    std::set<std::string> warm(std::size_t count = 1) {
        std::set<std::string> ids;
        EXPECT_TRUE(waitFor([&] {
            ids.clear();
            for (const auto& one : listed())
                if (one.labels.contains(kLabelWarm) && !used_.contains(shortId(one)))
                    ids.insert(shortId(one));
            return ids.size() == count && runtime_->warmReady() == count;
        }));
        return ids;
    }
    static std::string shortId(const ContainerSummary& one) { return one.id.substr(0, 12); }

    /// Runs it to its end; the container is known as used from then on.
    RecordingSink::Fate runOne(const ports::SandboxSpec& what) {
        auto fate = runToEnd(what);
        EXPECT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
        if (fate.info) used_.insert(fate.info->name);
        return fate;
    }
    /// Runs it cold, then, with another id, in the container that was started ahead for it.
    std::pair<RecordingSink::Fate, RecordingSink::Fate> runTwice(ports::SandboxSpec what) {
        const auto cold = runOne(what);
        closeNow(what.id);
        const auto ahead = warm();
        what.id.execution = ExecutionId::generate(os::systemRandom());
        const auto fate = runOne(what);
        EXPECT_TRUE(fate.info && ahead.contains(fate.info->name));
        closeNow(what.id);
        return {cold, fate};
    }

    std::int64_t max_idle_ms_ = 600'000;
    std::set<std::string> used_;
};

TEST_F(WarmDockerTest, EachIsUsedOnceAndAnotherTakesItsPlace) {
    auto what = spec("open('/tmp/left', 'x').write('x'); print('ran')");
    std::set<std::string> ahead;
    for (int i = 0; i < 3; ++i) {
        what.id.execution = ExecutionId::generate(os::systemRandom());
        const auto fate = runOne(what);
        ASSERT_TRUE(fate.info && fate.exit);
        EXPECT_EQ(fate.exit->standard_output, "ran\n") << fate.exit->standard_error;
        EXPECT_EQ(ahead.contains(fate.info->name), i > 0) << i;
        closeNow(what.id);
        ahead = warm();
    }
    EXPECT_EQ(used_.size(), 3U);
    // What its first user needs and another's shape does not give.
    what.id.execution = ExecutionId::generate(os::systemRandom());
    what.memory_bytes += 1 << 20;
    const auto other = runOne(what);
    ASSERT_TRUE(other.info);
    EXPECT_FALSE(ahead.contains(other.info->name));
}

TEST_F(WarmDockerTest, AnotherNumberMayBeKeptOfAShape) {
    auto what = spec("");
    what.keep_ready = 0;
    runOne(what);
    closeNow(what.id);
    what.id.execution = ExecutionId::generate(os::systemRandom());
    what.keep_ready = 1000;
    runOne(what);
    closeNow(what.id);
    const auto two = warm(2);
    // Nobody asks for more of them: they are used up.
    for (std::size_t left = 2; left > 0; --left) {
        what.id.execution = ExecutionId::generate(os::systemRandom());
        what.keep_ready = 0;
        const auto fate = runOne(what);
        EXPECT_TRUE(fate.info && two.contains(fate.info->name));
        closeNow(what.id);
        EXPECT_EQ(warm(left - 1).size(), left - 1);
    }
}

TEST_F(WarmDockerTest, InsideNothingTellsItFromOneMadeForTheJob) {
    auto what = spec(R"(
import os, resource, socket, subprocess
status = dict(l.rstrip('\n').split(':\t', 1) for l in open('/proc/self/status') if ':\t' in l)
def refused(call):
    try: call(); return False
    except OSError as e: return e.errno
print(os.getuid(), os.getgid(), os.getgroups(), os.getcwd(), os.getppid())
print({k: status[k] for k in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs',
                              'Seccomp', 'SigBlk', 'SigIgn', 'Threads')})
print(sorted(k + '=' + v for k, v in os.environ.items() if k != 'AEGIS_EXECUTION_ID'))
print(sorted(os.listdir('/proc/self/fd')), sorted(os.listdir('/aegis/run')), os.listdir('/tmp'))
print([os.readlink('/proc/self/fd/%d' % n).split(':')[0] for n in range(3)])
print(sorted(os.listdir('/sys/class/net')), open('/etc/hosts').read(), socket.gethostname())
print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))
print([refused(lambda d=d: open(d + '/probe', 'w')) for d in ('/', '/etc', '/aegis/bin',
                                                              '/aegis/run', '/w')])
print(refused(lambda: os.listdir('/proc/1/fd')), refused(lambda: os.unlink('/aegis/run/api.sock')))
print([l.split()[5].split(',')[0] for l in open('/proc/self/mountinfo') if l.split()[4] == '/w'][-1])
print(subprocess.run(['sh', '-c', 'ls /proc/self/fd'], capture_output=True).stdout,
      os.getsid(0) == os.getpid())
print(len([p for p in os.listdir('/proc') if p.isdigit()]))
)");
    const auto volume = dir_ + "/volume";
    fs::create_directory(volume);
    what.volumes = {{VolumeId{}, "w", "/w", volume}};
    what.mounts = {{"w", "", "/w", false}};
    what.env["AEGIS_X"] = "y z\n=";
    what.cwd = "/w";
    const auto [cold, warmed] = runTwice(what);
    ASSERT_TRUE(cold.exit && warmed.exit);
    EXPECT_EQ(cold.exit->exit_code, 0) << cold.exit->standard_error;
    EXPECT_EQ(cold.exit->standard_output, warmed.exit->standard_output)
        << warmed.exit->standard_error;
}

TEST_F(WarmDockerTest, ItsSocketsAndFilesAreThereBeforeItIsKnownWhose) {
    const auto what = spec("print('ran')");
    ASSERT_TRUE(runOne(what).exit);
    closeNow(what.id);
    warm();
    const fs::path runs = dir_ + "/run/" + node_.str();
    std::multiset<std::string> there;
    ASSERT_TRUE(waitFor([&] {  // until that of the first is gone
        there.clear();
        std::error_code gone;
        for (const auto& one : fs::directory_iterator(runs))
            for (const auto& file : fs::directory_iterator(one, gone))
                there.insert(file.path().filename());
        return there.count("hosts") == 1;
    }));
    for (const char* name : {"api.sock", "stdout", "stderr"})
        EXPECT_TRUE(there.contains(name)) << name;
}

TEST_F(WarmDockerTest, VolumesReachItAsGranted) {
    const auto volume = dir_ + "/volume";
    fs::create_directory(volume);
    ASSERT_EQ(::chown(volume.c_str(), 1000, 1000), 0);
    std::ofstream(volume + "/given") << "content";
    std::ofstream(volume + "/hidden") << "not granted";
    fs::create_directory(volume + "/part");
    std::ofstream(volume + "/part/seen") << "part";
    auto what = spec(
        "import os, time\n"
        "said = [open('/workspace/given').read(), open('/part/seen').read(), os.listdir('/part')]\n"
        "for path in ('/workspace/other', '/part/other'):\n"
        "    try: open(path, 'w')\n"
        "    except OSError as e: said.append(e.errno)\n"
        "flags = {l.split()[4]: l.split()[5] for l in open('/proc/self/mountinfo')}\n"
        "said += [f in flags[p].split(',') for p in ('/workspace', '/part', '/workspace/out')\n"
        "         for f in ('ro', 'nosuid', 'nodev')]\n"
        "open('/workspace/out/.new', 'w').write(repr(said))\n"
        "os.rename('/workspace/out/.new', '/workspace/out/new')\n"
        "time.sleep(600)\n");
    what.volumes = {{VolumeId{}, "workspace", "/workspace", volume}};
    what.create_directories = {"/workspace/out"};
    what.mounts = {{"workspace", "", "/workspace", false},
                   {"workspace", "part", "/part", false},
                   {"workspace", "out", "/workspace/out", true}};
    const auto prompt = what.prompt;
    what.prompt = std::make_shared<const std::string>("pass");
    ASSERT_TRUE(runOne(what).exit);
    closeNow(what.id);
    const auto ahead = warm();
    what.id.ordinal = 2;
    what.prompt = prompt;
    runtime_->start(what, soon(), sink_);
    const auto up = sink_.started(what.id);
    ASSERT_TRUE(up.info);
    EXPECT_TRUE(ahead.contains(up.info->name));
    EXPECT_TRUE(waitFor([&] { return fs::exists(volume + "/out/new"); }));
    // What the daemon's tools see of it.
    auto root = runtime_->root(what.id);
    ASSERT_TRUE(root);
    os::Fd file(::openat(root->get(), "workspace/given", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file);
    EXPECT_EQ(*os::readAll(file.get(), 100, "given"), "content");
    closeNow(what.id);
    EXPECT_TRUE(sink_.finished(what.id).exit);
    EXPECT_EQ(*os::readFile(volume + "/out/new", 1000),
              "['content', 'part', ['seen'], 30, 30, True, True, True, True, True, True, False, "
              "True, True]");
    EXPECT_TRUE(waitFor([&] {
        return os::readFile("/proc/self/mountinfo", 1 << 24)->find(volume) == std::string::npos;
    }));
}

TEST_F(WarmDockerTest, APlantedLinkIsNotFollowedIntoTheContainer) {
    const auto volume = dir_ + "/volume", other = dir_ + "/other";
    fs::create_directory(volume);
    fs::create_directory(other);
    auto what = spec("import os; print(os.path.islink('/w/in'), os.listdir('/tmp'))");
    what.volumes = {{VolumeId{}, "w", "/w", volume}, {VolumeId{}, "o", "/w/in", other}};
    what.mounts = {{"w", "", "/w", true}, {"o", "", "/w/in", true}};
    fs::create_directory(volume + "/in");
    ASSERT_TRUE(runOne(what).exit);
    closeNow(what.id);
    const auto ahead = warm();
    // As the agent's code could leave it for the next iteration.
    fs::remove(volume + "/in");
    fs::create_symlink("/aegis/run", volume + "/in");
    what.id.ordinal = 2;
    runtime_->start(what, soon(), sink_);
    const auto fate = sink_.finished(what.id);
    ASSERT_TRUE(fate.error);
    EXPECT_EQ(fate.error->code, ErrorCode::kPermissionDenied);
    EXPECT_FALSE(fate.fatal);
    EXPECT_EQ(warm(), ahead) << "it was not touched";
}

TEST_F(WarmDockerTest, FewProcessesAreEnforcedToo) {
    auto what = spec(kForks);
    what.pids = 5;
    const auto [cold, warmed] = runTwice(what);
    ASSERT_TRUE(warmed.exit);
    EXPECT_EQ(warmed.exit->standard_output, "4\n");
}

TEST_F(WarmDockerTest, LongPromptsAndCommandsAfterTheEndWorkAsEver) {
    auto what =
        spec("open('/tmp/size', 'w').write(str(len('''" + std::string(3 << 20, 'p') + "''')))");
    ASSERT_TRUE(runOne(what).exit);
    closeNow(what.id);
    const auto ahead = warm();
    what.id.ordinal = 2;
    const auto fate = runOne(what);
    ASSERT_TRUE(fate.info && fate.exit);
    EXPECT_TRUE(ahead.contains(fate.info->name));
    EXPECT_EQ(fate.exit->exit_code, 0) << fate.exit->standard_error;
    auto result = runCommand(what.id, {"sh", "-c", "cat /tmp/size; exit 4"});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->exit_code, 4);
    EXPECT_EQ(result->standard_output, std::to_string(3 << 20));
    closeNow(what.id);
}

TEST_F(WarmDockerTest, ADeadOneIsNotUsed) {
    const auto what = spec("print('ran')");
    ASSERT_TRUE(runOne(what).exit);
    closeNow(what.id);
    const auto ahead = warm();
    ASSERT_TRUE(runtime_->engine().killContainer(*ahead.begin(), soon()));
    auto again = spec("print('ran')");
    const auto fate = runOne(again);
    ASSERT_TRUE(fate.exit && fate.info);
    EXPECT_EQ(fate.exit->standard_output, "ran\n");
    EXPECT_FALSE(ahead.contains(fate.info->name));
    // It does not stay behind.
    EXPECT_TRUE(waitFor([&] {
        for (const auto& one : listed())
            if (ahead.contains(shortId(one))) return false;
        return true;
    }));
}

TEST_F(WarmDockerTest, AnImageThatHasChangedIsSeenAtOnce) {
    const std::string odd = "aegis-test/moving:1", name = "aegis-test-" + node_.str();
    const auto tag = [&](const std::string& greeting) {
        const auto made = "docker create --name " + name + " " + image_ +
                          " true >/dev/null && docker commit -c 'ENV GREETING=" + greeting + "' " +
                          name + " " + odd + " >/dev/null; docker rm " + name + " >/dev/null";
        ASSERT_EQ(std::system(made.c_str()), 0);
    };
    tag("hello");
    auto what = spec("import os; print(os.environ['GREETING'])");
    what.image = odd;
    const auto [cold, warmed] = runTwice(what);
    ASSERT_TRUE(cold.exit && warmed.exit);
    EXPECT_EQ(warmed.exit->standard_output, "hello\n");
    const auto ahead = warm();
    const auto before = runtime_->engine().inspectImage(odd, soon());
    ASSERT_TRUE(before);
    tag("changed");
    what.id.ordinal = 3;
    const auto fate = runOne(what);
    ASSERT_TRUE(fate.exit && fate.info);
    EXPECT_EQ(fate.exit->standard_output, "changed\n");
    EXPECT_FALSE(ahead.contains(fate.info->name));
    EXPECT_TRUE(runtime_->sweep({}));
    EXPECT_EQ(containers(), 0U);
    EXPECT_TRUE(runtime_->engine().removeImage(odd, soon()));
    EXPECT_TRUE(runtime_->engine().removeImage(before->id, soon()));
}

TEST_F(WarmDockerTest, IdleOnesGo) {
    runtime_.reset();
    max_idle_ms_ = 1;
    makeRuntime("unix:///var/run/docker.sock");
    const auto what = spec("pass");
    ASSERT_TRUE(runOne(what).exit);
    closeNow(what.id);
    EXPECT_TRUE(waitFor([&] { return containers() == 0; }));
    EXPECT_TRUE(waitFor([&] { return runDirsEmpty(); }));
}

TEST_F(WarmDockerTest, NothingIsLeftByAStopOrAKill) {
    auto what = spec("import time; time.sleep(600)");
    what.prompt = std::make_shared<const std::string>("pass");
    ASSERT_TRUE(runOne(what).exit);
    closeNow(what.id);
    warm();
    // As after a kill: another runtime of the node finds it by its label.
    auto other = DockerRuntime::create(DockerFixture::options("unix:///var/run/docker.sock"),
                                       os::systemRandom());
    ASSERT_TRUE(other);
    ASSERT_TRUE((*other)->sweep({}));
    EXPECT_EQ(containers(), 0U);

    auto again = spec("pass");
    again.memory_bytes += 1 << 20;
    ASSERT_TRUE(runOne(again).exit);
    warm();
    runtime_.reset();
    makeRuntime("unix:///var/run/docker.sock");
    EXPECT_EQ(containers(), 0U);
    EXPECT_TRUE(runDirsEmpty());
}

}  // namespace
}  // namespace aegis::sandbox
