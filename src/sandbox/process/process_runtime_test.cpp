#include <fcntl.h>
#include <sys/stat.h>

#include <sstream>

#include "sandbox/process/process_fixture_for_test.h"
#include "text/json.h"

namespace aegis::sandbox {
namespace {

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

/// All processes below one, and itself.
std::vector<std::string> family(const std::string& pid) {
    std::vector<std::string> out{pid};
    std::istringstream children(
        os::readFile("/proc/" + pid + "/task/" + pid + "/children", 64 << 10).value_or(""));
    for (std::string child; children >> child;)
        for (auto& one : family(child))
            out.push_back(std::move(one));
    return out;
}

TEST_P(ProcessRuntimeTest, AllOfASandboxIsInItsGroupAndNothingElseIs) {
    const auto what = spec(
        "import os, time\n"
        "for _ in range(3): os.fork()\n"
        "print('', flush=True)\n" +
        kSleep);
    runtime_->start(what, soon(), sink_);
    const auto info = sink_.started(what.id).info;
    ASSERT_TRUE(info);
    const auto first = info->name.substr(4);
    // PID 1 and eight.
    ASSERT_TRUE(eventually([&] { return family(first).size() == 9; }));
    auto tree = os::CgroupTree::open(node_.str());
    const auto own = groups();
    ASSERT_EQ(own.size(), 1U);
    for (const auto& pid : family(first)) {
        const auto where = os::readFile("/proc/" + pid + "/cgroup", 64 << 10);
        ASSERT_TRUE(where);
        EXPECT_TRUE(tree->holds(*where, own[0])) << pid << "\n" << *where;
    }
    for (const auto& group : allGroups()) {
        const auto within = os::readFile(
            hierarchyOf("memory") + "/aegis/" + node_.str() + "/" + group + "/cgroup.procs",
            64 << 10);
        ASSERT_TRUE(within);
        EXPECT_EQ(std::ranges::count(*within, '\n'), group == own[0] ? 9 : 1) << group;
    }
    closeNow(what.id);
}

TEST_P(ProcessRuntimeTest, ClosingDuringTheStartLeavesNothing) {
    const auto before = allGroups();
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
    EXPECT_EQ(allGroups(), before) << "the template is the same";
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

TEST_P(ProcessRuntimeTest, BesideManyNoneTakesTimeForItself) {
    if (!GetParam()) GTEST_SKIP() << "of forks";
    const auto unhurried = [&] {
        const auto what = spec("import sys; print(sys.unhurried)");
        const auto fate = runToEnd(what);
        closeNow(what.id);
        return fate.exit ? fate.exit->standard_output : "no exit";
    };
    EXPECT_EQ(unhurried(), "True\n");
    std::vector<ports::SandboxId> crowd;
    for (unsigned i = 0; i < 2 * std::max(1U, std::thread::hardware_concurrency()); ++i) {
        const auto one = spec(kSleep);
        crowd.push_back(one.id);
        runtime_->start(one, soon(), sink_);
        ASSERT_TRUE(sink_.started(one.id).info);
    }
    EXPECT_EQ(unhurried(), "False\n");
    for (const auto& id : crowd)
        closeNow(id);
}

INSTANTIATE_TEST_SUITE_P(Sandboxes, ProcessRuntimeTest, ::testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Forked" : "Fresh"; });

}  // namespace
}  // namespace aegis::sandbox
