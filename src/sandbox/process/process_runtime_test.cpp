#include "sandbox/process/process_runtime.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "os/cgroup.h"
#include "os/files.h"
#include "sandbox/common/fixture_for_test.h"
#include "text/json.h"

namespace aegis::sandbox {
namespace {

namespace fs = std::filesystem;

const std::string kSleep = "import time; time.sleep(600)";

/// This machine's own files as the image: python3 is there, and nothing must be unpacked.
struct HostImage : ports::RootImages {
    Result<ports::RootImage> resolve(const std::string& image) override {
        if (image != "host")
            return {ErrorCode::kNotFound, "image " + image + " is not on this machine"};
        ports::RootImage out;
        out.digest = "sha256:0";
        out.root = "/";
        out.env = {"PATH=/usr/local/bin:/usr/bin:/bin", "IMAGE=yes"};
        return out;
    }
};

/// Once with a fresh interpreter for each sandbox, once with forks of a template.
class ProcessRuntimeTest : public GuestFixture, public ::testing::WithParamInterface<bool> {
  protected:
    ports::Runtime& runtime() override { return *runtime_; }

    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "these tests need root";
        ASSERT_TRUE(fs::exists(dir_ + "/guest/init")) << "guest/init is not built";
        image_ = "host";
        runtime_ = make();
        const auto there = runtime_->available();
        ASSERT_TRUE(there) << there.error().message;
        if (GetParam()) makeTemplate();
    }
    /// No stems ahead: what there is, is in use.
    virtual WarmPool warm() const { return {0, GetParam() ? 600'000 : 0}; }
    /// The first sandbox of an image asks for it.
    virtual void makeTemplate() {
        addTemplateModule();
        ASSERT_TRUE(eventually([&] {
            const auto one = spec(kSleep);
            runtime_->start(one, soon(), sink_);
            const bool up = sink_.started(one.id).info.has_value();
            const auto there = groups();
            closeNow(one.id);
            return up && there.size() == 1 && there[0].starts_with("stem-");
        })) << "no template, or no stem of it";
        ASSERT_TRUE(eventually([&] { return groups().empty(); }));
    }
    void TearDown() override {
        if (!runtime_) return;
        const auto swept = runtime_->sweep({});
        EXPECT_TRUE(swept) << swept.error().message;
        // What was forked goes its own way.
        EXPECT_TRUE(warm().size > 0 ||
                    eventually([&] { return groups().empty() && runDirsEmpty(); }));
        runtime_.reset();
        EXPECT_TRUE(runDirsEmpty());
        EXPECT_FALSE(fs::exists("/sys/fs/cgroup/memory/aegis/" + node_.str()));
    }
    std::unique_ptr<ProcessRuntime> make() {
        ProcessOptions options;
        options.node = node_;
        options.guest_dir = dir_ + "/guest";
        options.run_base = dir_ + "/run";
        options.listeners = listeners();
        options.warm = warm();
        options.launcher_command = {std::string(AEGIS_BINARY_DIR) +
                                    "/src/launcher/aegis_standalone_launcher"};
        auto made = ProcessRuntime::create(std::move(options), images_, os::systemRandom());
        EXPECT_TRUE(made) << made.error().message;
        return made ? std::move(*made) : nullptr;
    }
    std::vector<std::string> allGroups() {
        auto tree = os::CgroupTree::open(node_.str());
        EXPECT_TRUE(tree);
        return tree ? *tree->list() : std::vector<std::string>{"?"};
    }
    /// Of sandboxes.
    std::vector<std::string> groups() {
        auto out = allGroups();
        std::erase_if(out, [](const auto& name) { return name.starts_with("template-"); });
        return out;
    }
    bool runDirsEmpty() { return emptyOrGone(dir_ + "/run/" + node_.str() + "-process"); }
    /// Until the removal, which follows the report of a death, is done.
    template <class Ready>
    bool eventually(Ready ready) {
        for (int i = 0; i < 500; ++i) {
            if (ready()) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return false;
    }

    HostImage images_;
    std::unique_ptr<ProcessRuntime> runtime_;
};

const std::string kPrelude = R"(
import json, os, subprocess, socket, threading, errno
status = dict(l.rstrip('\n').split(':\t', 1) for l in open('/proc/self/status') if ':\t' in l)
def writable(path):
    try:
        open(path + '/probe', 'w').close(); return True
    except OSError: return False
def refused(call):
    try: call(); return False
    except OSError as e: return e.errno
)";

/// What a sandbox prints as JSON, by field.
struct Said {
    std::optional<json::Value> value;
    std::string operator[](const char* name) const {
        const auto* field = value ? json::find(*value, name) : nullptr;
        return field == nullptr ? "(nothing)" : json::dump(*field);
    }
};
Said saidBy(const RecordingSink::Fate& fate) {
    Said said;
    EXPECT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    if (!fate.exit) return said;
    EXPECT_EQ(fate.exit->exit_code, 0) << fate.exit->standard_error;
    auto parsed = json::parse(fate.exit->standard_output);
    EXPECT_TRUE(parsed) << fate.exit->standard_output;
    if (parsed) said.value = std::move(*parsed);
    return said;
}

TEST_P(ProcessRuntimeTest, RunsAsNobodyInParticularWithNothingToReach) {
    const auto said = saidBy(runToEnd(spec(kPrelude + R"(
print(json.dumps({
  'uid': [os.getuid(), os.getgid(), os.getgroups()],
  'caps': {status[k] for k in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')} == {'0' * 16},
  'nnp': status['NoNewPrivs'], 'seccomp': status['Seccomp'],
  'writable': [p for p in ('/', '/etc', '/usr', '/tmp', '/aegis/bin', '/aegis/run', '/dev', '/run',
                            '/var/tmp', '/dev/shm', '/proc', '/proc/sys', '/sys') if writable(p)],
  'interfaces': sorted(l.split(':')[0].strip() for l in open('/proc/net/dev').readlines()[2:]),
  'init': refused(lambda: os.listdir('/proc/1/fd')), 'stdin': os.readlink('/proc/self/fd/0'),
  'fds': sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1],
  'netlink': refused(lambda: socket.socket(16, 3, 0)),
  'vsock': refused(lambda: socket.socket(40, 1, 0)),
  'keys': open('/proc/keys').read() if os.path.exists('/proc/keys') else '',
  'unshare': subprocess.run(['unshare', '-U', 'true'], capture_output=True).returncode}))
)")));
    EXPECT_EQ(said["uid"], "[1000,1000,[]]");
    EXPECT_EQ(said["caps"], "true");
    EXPECT_EQ(said["nnp"], "\"1\"");
    EXPECT_EQ(said["seccomp"], "\"2\"");
    EXPECT_EQ(said["writable"], R"(["/tmp","/dev/shm"])");
    EXPECT_EQ(said["interfaces"], "[\"lo\"]");
    EXPECT_EQ(said["init"], std::to_string(EACCES));
    EXPECT_EQ(said["stdin"], "\"/dev/null\"");
    EXPECT_EQ(said["fds"], "[0,1,2]");
    EXPECT_EQ(said["netlink"], std::to_string(EPERM));
    EXPECT_EQ(said["vsock"], std::to_string(EPERM));
    EXPECT_EQ(said["keys"], "\"\"");
    EXPECT_NE(said["unshare"], "0");
}

TEST_P(ProcessRuntimeTest, HasWhatAProgramExpects) {
    auto what = spec(kPrelude + R"(
t = threading.Thread(target=lambda: None); t.start(); t.join()
server = socket.create_server(('127.0.0.1', 0))
socket.create_connection(server.getsockname()).close(); server.close()
print(json.dumps({
  'cwd': os.getcwd(), 'run': sorted(os.listdir('/aegis/run')), 'sys': os.listdir('/sys'),
  'sub': subprocess.run(['sh', '-c', 'cat | tr a-z A-Z'], input=b'ok',
                        capture_output=True).stdout.decode(),
  'tmp': os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize,
  'env': dict(sorted((k, os.environ.get(k)) for k in
                     ('HOME', 'AEGIS_X', 'IMAGE', 'AEGIS_ORCHESTRATOR_URL'))),
  'environ': [e.split('=')[0] for e in open('/proc/self/environ').read().split('\0') if e
              and e.split('=')[0] in ('USER', 'SHELL', 'LOGNAME', 'OLDPWD')],
  'host': socket.gethostname(), 'pids': len([p for p in os.listdir('/proc') if p.isdigit()]),
  'cgroup': sorted({l.rstrip('\n').split(':', 2)[2] for l in open('/proc/self/cgroup')
                    if any(c in l.split(':')[1].split(',') for c in ('memory', 'cpu', 'pids'))
                    or l.startswith('0::')}),
  'mounts': sorted({p for p in (l.split()[4] for l in open('/proc/self/mountinfo'))
                    if not p.startswith(('/proc/', '/dev/'))}),
  'exe': refused(lambda: open('/proc/self/exe', 'r+b').close()),
  'localhost': socket.gethostbyname('localhost'),
  'openpty': len(os.openpty()), 'shm': not refused(lambda: open('/dev/shm/x', 'w').close()),
  'null': open('/dev/null', 'w').write('x')}))
)");
    what.env["AEGIS_X"] = "y";
    const auto fate = runToEnd(what);
    const auto said = saidBy(fate);
    EXPECT_EQ(said["cwd"], "\"/tmp\"");
    EXPECT_EQ(said["run"], "[\"api.sock\"]");
    EXPECT_EQ(said["sys"], "[]");
    EXPECT_EQ(said["sub"], "\"OK\"");
    EXPECT_EQ(said["tmp"], std::to_string(16 << 20));
    EXPECT_EQ(said["env"], R"({"AEGIS_ORCHESTRATOR_URL":"http://127.0.0.1:7411","AEGIS_X":"y",)"
                           R"("HOME":"/tmp","IMAGE":"yes"})");
    EXPECT_EQ(said["environ"], "[]");
    EXPECT_EQ(said["host"], "\"aegis\"");
    EXPECT_EQ(said["pids"], "2");
    EXPECT_EQ(said["mounts"], R"(["/","/aegis/bin","/aegis/run","/dev","/proc","/tmp"])");
    EXPECT_EQ(said["exe"], std::to_string(EROFS));
    EXPECT_EQ(said["localhost"], "\"127.0.0.1\"");
    EXPECT_EQ(said["openpty"], "2");
    EXPECT_EQ(said["shm"], "true");
    EXPECT_EQ(said["null"], "1");
    EXPECT_EQ(said["cgroup"], R"(["/"])");
    ASSERT_TRUE(fate.info);
    EXPECT_EQ(fate.info->runtime, "process");
    closeNow(what.id);
}

TEST_P(ProcessRuntimeTest, ReportsHowTheBootstrapEnded) {
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

TEST_P(ProcessRuntimeTest, LimitsHold) {
    auto what = spec(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'x = bytearray(1 << 30)'])\n");
    what.memory_bytes = 48 << 20;
    auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->exit_code, 0) << "the bootstrap itself survived";
    EXPECT_TRUE(fate.exit->out_of_memory);

    what = spec(
        "import os, time\n"
        "n = 0\n"
        "try:\n"
        "    while True:\n"
        "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "        n += 1\n"
        "except BlockingIOError: print(n)\n");
    what.pids = 20;
    fate = runToEnd(what);
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->standard_output, "19\n");

    what = spec(
        "import errno\n"
        "try:\n"
        "    with open('/tmp/big', 'wb') as f:\n"
        "        for _ in range(64): f.write(b'x' * (1 << 20))\n"
        "except OSError as e: print(e.errno == errno.ENOSPC)\n");
    fate = runToEnd(what);
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->standard_output, "True\n");
}

TEST_P(ProcessRuntimeTest, CpuIsHeldDown) {
    auto what = spec(
        "import time\n"
        "end = time.monotonic() + 1\n"
        "while time.monotonic() < end: pass\n"
        "print(time.process_time())\n");
    what.cpu_millicores = 200;
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit);
    EXPECT_LT(std::stod(fate.exit->standard_output), 0.4);
}

TEST_P(ProcessRuntimeTest, PromptsOfEveryKindArriveWhole) {
    const std::string big = "print(len('''" + std::string(3 << 20, 'p') + "'''))";
    const auto fate = runToEnd(spec(big));
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->standard_output, std::to_string(3 << 20) + "\n");
}

TEST_P(ProcessRuntimeTest, CommandsRunAfterTheEndOnly) {
    const auto what = spec("open('/tmp/made', 'w').write('here')\nimport time; time.sleep(0.3)");
    runtime_->start(what, soon(), sink_);
    ASSERT_TRUE(sink_.started(what.id).info);
    EXPECT_EQ(runCommand(what.id, {"true"}).error().code, ErrorCode::kConflict);
    ASSERT_TRUE(sink_.finished(what.id).exit);
    auto result = runCommand(what.id, {"sh", "-c", "cat /tmp/made; echo no >&2; exit 4"});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->exit_code, 4);
    EXPECT_EQ(result->standard_output, "here");
    EXPECT_EQ(runCommand(what.id, {"no-such-command"})->exit_code, 127);
    EXPECT_TRUE(runCommand(what.id, {"sleep", "60"}, 300)->timed_out);
    closeNow(what.id);
    EXPECT_EQ(runCommand(what.id, {"true"}).error().code, ErrorCode::kNotFound);
}

TEST_P(ProcessRuntimeTest, RootShowsWhatTheSandboxSees) {
    const auto what = spec("open('/tmp/seen', 'w').write('inside')\nprint('', flush=True)");
    ASSERT_TRUE(runToEnd(what).exit);
    auto root = runtime_->root(what.id);
    ASSERT_TRUE(root) << root.error().message;
    os::Fd file(::openat(root->get(), "tmp/seen", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file);
    EXPECT_EQ(*os::readAll(file.get(), 100, "seen"), "inside");
    struct stat st{};
    ASSERT_EQ(::fstat(file.get(), &st), 0);
    EXPECT_EQ(st.st_uid, 1000U);
    closeNow(what.id);
    EXPECT_FALSE(runtime_->root(what.id));
}

TEST_P(ProcessRuntimeTest, ClosingKillsAtOnceAndTwiceIsFine) {
    const auto what = spec(
        "import signal, subprocess\n"
        "signal.signal(15, signal.SIG_IGN)\n"
        "for _ in range(8): subprocess.Popen(['sleep', '600'])\n" +
        kSleep);
    runtime_->start(what, soon(), sink_);
    ASSERT_TRUE(sink_.started(what.id).info);
    ASSERT_EQ(groups().size(), 1U);
    EXPECT_EQ(groups()[0].starts_with("stem-"), GetParam()) << groups()[0];
    closeNow(what.id);
    const auto fate = sink_.finished(what.id);
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->died, "the sandbox was closed");
    closeNow(what.id);
    EXPECT_EQ(fate.calls, 2);
    EXPECT_TRUE(eventually([&] { return groups().empty() && runDirsEmpty(); }));
}

TEST_P(ProcessRuntimeTest, ClosingDuringTheStartLeavesNothing) {
    for (int delay_ms : {0, 1, 2, 3, 5, 8, 12, 20, 40}) {
        const auto what = spec(kSleep);
        runtime_->start(what, soon(), sink_);
        std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
        closeNow(what.id);
        const auto fate = sink_.finished(what.id);
        EXPECT_TRUE(fate.error ? fate.error->code == ErrorCode::kCancelled : fate.exit.has_value());
        EXPECT_FALSE(runtime_->root(what.id));
    }
    EXPECT_TRUE(eventually([&] { return groups().empty() && runDirsEmpty(); }));
}

TEST_P(ProcessRuntimeTest, ASandboxThatIsKilledFromOutsideIsReported) {
    const auto what = spec(kSleep);
    runtime_->start(what, soon(), sink_);
    ASSERT_TRUE(sink_.started(what.id).info);
    auto tree = os::CgroupTree::open(node_.str());
    ASSERT_TRUE(tree);
    ASSERT_TRUE(tree->kill(groups().at(0), soon()));
    const auto fate = sink_.finished(what.id);
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->died, "the sandbox's first process died");
    closeNow(what.id);
}

TEST_P(ProcessRuntimeTest, VolumesAreMountedAsGranted) {
    const auto volume = dir_ + "/volume";
    fs::create_directory(volume);
    ASSERT_EQ(::chown(volume.c_str(), 1000, 1000), 0);
    std::ofstream(volume + "/given") << "content";
    auto what = spec(
        "import os\n"
        "print(open('/new/place/given').read(), os.stat('/new/place').st_uid)\n"
        "open('/new/place/out/new', 'w').write('made')\n"
        "os.rename('/new/place/out/new', '/new/place/out/newer')\n"
        "for p in '/new/place/other', '/new/x':\n"
        "    try: open(p, 'w')\n"
        "    except OSError as e: print(e.errno)\n"
        "try: open('/one/file', 'w')\n"
        "except OSError as e: print(e.errno)\n"
        "print(open('/one/file').read())\n");
    what.volumes = {{VolumeId{}, "workspace", "/new/place", volume}};
    what.create_directories = {"/new/place/out"};
    what.mounts = {{"workspace", "", "/new/place", false},
                   {"workspace", "out", "/new/place/out", true},
                   {"workspace", "given", "/one/file", false}};
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    EXPECT_EQ(fate.exit->standard_output, "content 1000\n30\n30\n30\ncontent\n")
        << fate.exit->standard_error;
    struct stat st{};
    ASSERT_EQ(::stat((volume + "/out/newer").c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 1000U);
    EXPECT_EQ(st.st_gid, 1000U);
}

TEST_P(ProcessRuntimeTest, AMissingImageIsTold) {
    auto what = spec("");
    what.image = "no-such";
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.error);
    EXPECT_TRUE(fate.fatal);
    EXPECT_EQ(fate.error->code, ErrorCode::kNotFound);
}

TEST_P(ProcessRuntimeTest, AnotherRuntimeFindsWhatACrashLeft) {
    const auto one = spec(kSleep);
    const auto two = spec(kSleep);
    runtime_->start(one, soon(), sink_);
    runtime_->start(two, soon(), sink_);
    ASSERT_TRUE(sink_.started(one.id).info);
    ASSERT_TRUE(sink_.started(two.id).info);
    auto other = make();
    if (!GetParam()) {
        ASSERT_TRUE(other->sweep({two.id}));
        EXPECT_EQ(groups(), std::vector<std::string>{two.id.execution.str() + "-1"});
        EXPECT_TRUE(runtime_->root(two.id));
    }
    ASSERT_TRUE(other->sweep({}));
    EXPECT_TRUE(groups().empty());
    EXPECT_TRUE(allGroups().empty());
    EXPECT_FALSE(sink_.finished(one.id).exit->died.empty());
    EXPECT_FALSE(sink_.finished(two.id).exit->died.empty());
}

TEST_P(ProcessRuntimeTest, ManyAtOnceAndOneAfterTheOther) {
    std::vector<ports::SandboxSpec> all;
    for (int i = 0; i < 24; ++i)
        all.push_back(spec("print(" + std::to_string(i) + ")"));
    for (const auto& one : all)
        runtime_->start(one, soon(), sink_);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto fate = sink_.finished(all[i].id);
        ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
        EXPECT_EQ(fate.exit->standard_output, std::to_string(i) + "\n");
        closeNow(all[i].id);
    }
    EXPECT_TRUE(eventually([&] { return groups().empty() && runDirsEmpty(); }));
}

/// Stems that wait, used once each.
class WarmProcessRuntimeTest : public ProcessRuntimeTest {
  protected:
    static constexpr std::size_t kReady = 2;
    ports::Runtime& runtime() override { return *runtime_; }
    std::size_t stems() {
        const auto all = groups();
        return static_cast<std::size_t>(
            std::ranges::count_if(all, [](const auto& name) { return name.starts_with("stem-"); }));
    }
    WarmPool warm() const override { return {kReady, 600'000}; }
    void makeTemplate() override {
        addTemplateModule();
        const auto first = spec("");
        ASSERT_TRUE(runToEnd(first).exit);
        closeNow(first.id);
        ASSERT_TRUE(eventually([&] { return groups().size() == kReady; }));
    }
};

TEST_P(WarmProcessRuntimeTest, EachIsUsedOnceAndReplaced) {
    std::set<std::string> used;
    for (int i = 0; i < 6; ++i) {
        const auto what = spec(kSleep);
        runtime_->start(what, soon(), sink_);
        const auto info = sink_.started(what.id).info;
        ASSERT_TRUE(info);
        const auto cgroup = os::readFile("/proc/" + info->name.substr(4) + "/cgroup", 64 << 10);
        ASSERT_TRUE(cgroup) << info->name;
        const auto at = cgroup->find("/stem-");
        ASSERT_NE(at, std::string::npos) << *cgroup;
        const auto group = cgroup->substr(at, cgroup->find('\n', at) - at);
        EXPECT_TRUE(used.insert(group).second) << group << " came back";
        closeNow(what.id);
        EXPECT_TRUE(eventually([&] { return stems() == kReady; }));
    }
}

TEST_P(WarmProcessRuntimeTest, NothingOfOneIsInAnother) {
    // Leaves a mark wherever one may be left, and tells whether there was one.
    const std::string script = R"(
import builtins, gc, json, os, sys
marks = [hasattr(builtins, 'mark'), 'MARK' in os.environ, os.path.exists('/tmp/mark'),
         os.path.exists('/dev/shm/mark'), any(isinstance(o, str) and o.startswith('the ma' + 'rk ')
                                             for o in gc.get_objects())]
builtins.mark = 'the ' + 'mark ' + str(os.getpid())
os.environ['MARK'] = '1'
for place in '/tmp/mark', '/dev/shm/mark': open(place, 'w').close()
print(json.dumps([any(marks), sorted(map(int, os.listdir('/proc/self/fd')))[:-1], os.getpid(),
                  os.urandom(8).hex(), os.environ.get('OWN')]))
)";
    std::set<std::string> random;
    for (int i = 0; i < 5; ++i) {
        auto what = spec(script);
        what.env["OWN"] = std::to_string(i);
        const auto fate = runToEnd(what);
        const auto id = what.id;
        ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
        const auto said = json::parse(fate.exit->standard_output);
        ASSERT_TRUE(said) << fate.exit->standard_error;
        const auto& fields = said->as_array();
        EXPECT_EQ(json::dump(fields[0]), "false");
        EXPECT_EQ(json::dump(fields[1]), "[0,1,2]");
        EXPECT_EQ(json::dump(fields[2]), "2");
        random.insert(json::dump(fields[3]));
        EXPECT_EQ(json::dump(fields[4]), "\"" + std::to_string(i) + "\"");
        closeNow(id);
    }
    EXPECT_EQ(random.size(), 5U);
}

TEST_P(WarmProcessRuntimeTest, ATemplateThatDiesIsReplacedAndItsSandboxesAreTold) {
    const auto what = spec(kSleep);
    runtime_->start(what, soon(), sink_);
    ASSERT_TRUE(sink_.started(what.id).info);
    const auto all = allGroups();
    const auto old =
        *std::ranges::find_if(all, [](const auto& name) { return name.starts_with("template-"); });
    auto tree = os::CgroupTree::open(node_.str());
    ASSERT_TRUE(tree->kill(old, soon()));
    const auto fate = sink_.finished(what.id);
    ASSERT_TRUE(fate.exit);
    EXPECT_EQ(fate.exit->died, "the sandbox's first process died");
    closeNow(what.id);
    // The stems that waited died with it; whoever is handed one says so or goes the long way.
    ASSERT_TRUE(eventually([&] {
        const auto next = spec("print('works')");
        const auto after = runToEnd(next);
        closeNow(next.id);
        return after.exit && after.exit->standard_output == "works\n";
    }));
}

/// An image that nobody uses keeps nothing.
class IdleProcessRuntimeTest : public WarmProcessRuntimeTest {
  protected:
    WarmPool warm() const override { return {1, 2'500}; }
    void makeTemplate() override { addTemplateModule(); }
};

TEST_P(IdleProcessRuntimeTest, WhatWaitsForNobodyIsGivenUp) {
    for (int round = 0; round < 2; ++round) {
        const auto what = spec("print('works')");
        EXPECT_EQ(runToEnd(what).exit->standard_output, "works\n");
        closeNow(what.id);
        EXPECT_TRUE(eventually([&] { return stems() == 1; })) << "one waits";
        EXPECT_TRUE(eventually([&] { return allGroups().empty(); })) << "nor the template";
        EXPECT_TRUE(runDirsEmpty());
    }
}

INSTANTIATE_TEST_SUITE_P(Sandboxes, IdleProcessRuntimeTest, ::testing::Values(true),
                         [](const auto&) { return "Idle"; });
INSTANTIATE_TEST_SUITE_P(Sandboxes, WarmProcessRuntimeTest, ::testing::Values(true),
                         [](const auto&) { return "Warm"; });
INSTANTIATE_TEST_SUITE_P(Sandboxes, ProcessRuntimeTest, ::testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Forked" : "Fresh"; });

}  // namespace
}  // namespace aegis::sandbox
