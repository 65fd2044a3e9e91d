#include <fcntl.h>
#include <sys/statfs.h>

#include <map>
#include <set>
#include <sstream>

#include "sandbox/process/process_fixture_for_test.h"
#include "text/json.h"

namespace aegis::sandbox {
namespace {

/// Stems that wait, used once each.
class WarmProcessRuntimeTest : public ProcessRuntimeTest {
  protected:
    static constexpr std::size_t kReady = 2;
    static constexpr std::size_t kMost = 4;
    ports::Runtime& runtime() override { return *runtime_; }
    std::size_t stems() {
        const auto all = groups();
        return static_cast<std::size_t>(
            std::ranges::count_if(all, [](const auto& name) { return name.starts_with("stem-"); }));
    }
    /// The cgroup of a process.
    static std::string groupOf(const std::string& pid) {
        const auto cgroup = os::readFile("/proc/" + pid + "/cgroup", 64 << 10).value_or("");
        const auto v1 = cgroup.find(":memory:");
        const auto end = cgroup.find('\n', v1 == cgroup.npos ? cgroup.find("0::") : v1);
        return cgroup.substr(0, end).substr(cgroup.rfind('/', end) + 1);
    }
    /// A new volume with one file, mounted at `target`.
    ports::SandboxSpec withVolume(const std::string& script, const std::string& content,
                                  const std::string& target) {
        const auto volume = dir_ + "/volume-" + content;
        EXPECT_TRUE(fs::create_directory(volume));
        EXPECT_EQ(::chown(volume.c_str(), 1000, 1000), 0);
        EXPECT_TRUE(os::writeFileAtomic(volume + "/given", content, 0644));
        auto what = spec(script);
        what.volumes = {{VolumeId{}, "work", target, volume}};
        what.create_directories = {target + "/out"};
        what.mounts = {{"work", "", target, false}, {"work", "out", target + "/out", true}};
        return what;
    }
    WarmPool warm() const override { return {kReady, 600'000, kMost}; }
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
        const auto group = groupOf(info->name.substr(4));
        ASSERT_TRUE(group.starts_with("stem-")) << group;
        EXPECT_TRUE(used.insert(group).second) << group << " came back";
        closeNow(what.id);
        EXPECT_TRUE(eventually([&] { return stems() == kReady; }));
    }
}

TEST_P(WarmProcessRuntimeTest, AnotherNumberMayBeKeptOfAKind) {
    const auto runOne = [&](std::optional<int> keep) {
        auto what = spec("");
        what.keep_ready = keep;
        const auto fate = runToEnd(what);
        EXPECT_TRUE(fate.exit && fate.info);
        closeNow(what.id);
    };
    runOne(3);
    EXPECT_TRUE(eventually([&] { return stems() == 3; })) << stems();
    runOne(1000);
    EXPECT_TRUE(eventually([&] { return stems() == kMost; })) << stems();
    for (std::size_t left = kMost; left > 0; --left) {
        runOne(0);
        EXPECT_TRUE(eventually([&] { return stems() == left - 1; })) << stems();
    }
    // There is still the template, whose next is forked when it is needed.
    const auto cold = spec(kSleep);
    runtime_->start(cold, soon(), sink_);
    ASSERT_TRUE(sink_.started(cold.id).info);
    closeNow(cold.id);
    EXPECT_TRUE(eventually([&] { return stems() == kReady; })) << "as many as of others again";
}

TEST_P(WarmProcessRuntimeTest, OneThatStandsGetsTheLimitsOfWhomItIsFor) {
    const std::string script =
        "import os\n"
        "s = os.statvfs('/tmp')\n"
        "print(s.f_blocks * s.f_frsize, flush=True)\n"
        "import time; time.sleep(600)";
    struct Shape {
        std::uint64_t memory_bytes, tmp_bytes;
        int pids;
    };
    // The first two are the same, then each differs from what was made ahead.
    for (const Shape& shape : {Shape{64 << 20, 2 << 20, 20}, Shape{64 << 20, 2 << 20, 20},
                               Shape{256 << 20, 8 << 20, 90}, Shape{32 << 20, 1 << 20, 10}}) {
        auto what = spec(script);
        what.memory_bytes = shape.memory_bytes;
        what.tmp_bytes = shape.tmp_bytes;
        what.pids = shape.pids;
        runtime_->start(what, soon(), sink_);
        const auto info = sink_.started(what.id).info;
        ASSERT_TRUE(info);
        const auto own = groupOf(info->name.substr(4));
        const auto in = [&](const char* controller, const char* name) {
            return os::readFile(
                       hierarchyOf(controller) + "/aegis/" + node_.str() + "/" + own + "/" + name,
                       4096)
                .value_or("");
        };
        EXPECT_EQ(in("memory", isVersion2() ? "memory.max" : "memory.limit_in_bytes"),
                  std::to_string(shape.memory_bytes) + "\n");
        EXPECT_EQ(in("pids", "pids.max"), std::to_string(shape.pids + 1) + "\n");
        const auto root = runtime_->root(what.id);
        ASSERT_TRUE(root);
        struct statfs tmp{};
        const os::Fd dir(::openat(root->get(), "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        ASSERT_EQ(::fstatfs(dir.get(), &tmp), 0);
        EXPECT_EQ(tmp.f_blocks * static_cast<std::uint64_t>(tmp.f_bsize), shape.tmp_bytes);
        closeNow(what.id);
        ASSERT_TRUE(eventually([&] { return stems() == kReady; }));
    }
}

TEST_P(WarmProcessRuntimeTest, ThePayloadsThreadIsKnownToTheKernelAndTheLibrary) {
    // It goes on in memory that another process was forked with. A signal from another thread goes
    // to the number that the library holds of the first; sched_getcpu() reads what the kernel
    // writes for a thread that has told it where.
    const std::string script = R"(
import ctypes, json, os, signal, threading
libc = ctypes.CDLL(None, use_errno=True)
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(threading.get_native_id() == os.getpid()))
main = threading.get_ident()
other = threading.Thread(target=lambda: signal.pthread_kill(main, signal.SIGUSR1))
other.start(); other.join()
cpus, seen = sorted(os.sched_getaffinity(0)), []
for cpu in cpus:
    os.sched_setaffinity(0, {cpu})
    seen.append(libc.sched_getcpu())
head, size = ctypes.c_void_p(), ctypes.c_size_t()
libc.syscall(274, 0, ctypes.byref(head), ctypes.byref(size))  # get_robust_list
child = os.fork()
if child == 0: os._exit(7)
print(json.dumps([got, seen == cpus, bool(head.value), os.waitpid(child, 0)[1] >> 8]))
)";
    for (int i = 0; i < 2; ++i) {
        const auto what = spec(script);
        const auto id = what.id;
        const auto fate = runToEnd(what);
        ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
        EXPECT_EQ(fate.exit->standard_output, "[[true], true, true, 7]\n")
            << fate.exit->standard_error;
        closeNow(id);
    }
}

TEST_P(WarmProcessRuntimeTest, RootsStandBeforeItIsKnownWhoseVolumesTheyGet) {
    const std::string script =
        "import os\n"
        "print(os.listdir('/v'), open('/v/given').read(), os.statvfs('/tmp').f_blocks > 0)\n"
        "open('/v/out/made', 'w').write('x')\n"
        "for p in '/v/other', '/other':\n"
        "    try: open(p, 'w')\n"
        "    except OSError as e: print(e.errno)\n";
    std::set<std::string> used;
    for (const std::string content : {"one", "two", "three", "four"}) {
        const auto waiting = groups();
        const auto what = withVolume(script, content, "/v");
        const auto fate = runToEnd(what);
        ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
        EXPECT_EQ(fate.exit->standard_output, "['given', 'out'] " + content + " True\n30\n30\n")
            << fate.exit->standard_error;
        EXPECT_TRUE(fs::exists(dir_ + "/volume-" + content + "/out/made"));
        const auto group = groupOf(fate.info->name.substr(4));
        EXPECT_TRUE(used.insert(group).second) << group << " came back";
        // Those without a place, and from the second on those with these.
        EXPECT_EQ(std::ranges::find(waiting, group) != waiting.end(), content != "one");
        closeNow(what.id);
        // All but the last of them stand by then.
        ASSERT_TRUE(eventually([&] {
            const auto there = groups();
            return std::ranges::find(there, group) == there.end() && stems() == 2 * kReady;
        }));
    }
}

TEST_P(WarmProcessRuntimeTest, AVolumeMayBeWhereTmpIs) {
    const std::string script = "print(open('/tmp/given').read()); open('/tmp/x', 'w')";
    for (const std::string content : {"one", "two"}) {
        auto what = withVolume(script, content, "/tmp");
        what.mounts = {{"work", "", "/tmp", true}};
        const auto fate = runToEnd(what);
        ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
        EXPECT_EQ(fate.exit->standard_output, content + "\n") << fate.exit->standard_error;
        EXPECT_TRUE(fs::exists(dir_ + "/volume-" + content + "/x"));
        closeNow(what.id);
        ASSERT_TRUE(eventually([&] { return stems() == 2 * kReady; }));
    }
}

TEST_P(WarmProcessRuntimeTest, ManyKindsOfPlacesLeaveNoMoreThanAFew) {
    constexpr std::size_t kKinds = 4;
    for (std::size_t i = 0; i < 2 * kKinds; ++i) {
        const auto name = std::to_string(i);
        const auto target = "/place-" + name;
        const auto what = withVolume("print(open('" + target + "/given').read())", name, target);
        const auto fate = runToEnd(what);
        ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
        EXPECT_EQ(fate.exit->standard_output, name + "\n") << fate.exit->standard_error;
        closeNow(what.id);
        // With the one without places; once there were too many, bare ones as well.
        const auto most = std::min(i + 2, kKinds + 1) * kReady;
        ASSERT_TRUE(eventually([&] { return stems() == most; })) << i << ": " << stems();
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

/// Of a process: each mapping of code, and how much of it is in memory.
std::map<std::string, int> codeOf(const std::string& pid) {
    std::istringstream in(os::readFile("/proc/" + pid + "/smaps", 1 << 20).value_or(""));
    std::map<std::string, int> out;
    std::string mapping;
    for (std::string line; std::getline(in, line);) {
        const bool begins = line.find('-') < line.find(' ');
        if (begins) mapping = line.find(" r-xp ") != line.npos ? line : "";
        if (!mapping.empty() && mapping.find('/') != mapping.npos && line.starts_with("Rss:"))
            out[mapping] = std::stoi(line.substr(4));
    }
    return out;
}

TEST_P(WarmProcessRuntimeTest, ForksHaveTheCodeThatTheirTemplateHas) {
    const auto pidIn = [&](const std::string& name, std::size_t which) -> std::string {
        const auto file = hierarchyOf("memory") + "/aegis/" + node_.str() + "/" + name;
        std::istringstream in(os::readFile(file + "/cgroup.procs", 4096).value_or(""));
        std::set<int> pids;
        for (int pid = 0; in >> pid;)
            pids.insert(pid);
        return pids.size() > which ? std::to_string(*std::next(pids.begin(), which)) : "";
    };
    // Once the template had time to prepare itself: when nobody has asked it for a while.
    int tries = 0;
    EXPECT_TRUE(eventually([&] {
        os::pauseMs(20L * ++tries);
        const auto what = spec(kSleep);
        runtime_->start(what, soon(), sink_);
        const auto info = sink_.started(what.id).info;
        if (!info) return false;
        const auto all = allGroups();
        const auto parent = std::ranges::find_if(
            all, [](const auto& name) { return name.starts_with("template-"); });
        const auto theirs = parent == all.end() ? codeOf("") : codeOf(pidIn(*parent, 0));
        auto own = codeOf(pidIn(groupOf(info->name.substr(4)), 1));
        closeNow(what.id);
        return theirs.size() > 3 && std::ranges::all_of(theirs, [&](const auto& one) {
                   return own.contains(one.first) && own[one.first] >= one.second;
               });
    }));
}

TEST_P(WarmProcessRuntimeTest, NothingIsBothCodeAndWritable) {
    for (int i = 0; i < 3; ++i) {
        const auto what = spec(
            "import time; time.sleep(0.1)\n"  // the template is at rest, the next is forked later
            "print([l for l in open('/proc/self/maps') if 'w' in l.split()[1] and "
            "'x' in l.split()[1]], len([l for l in open('/proc/self/maps') if ' r-x' in l]) > 3)");
        const auto id = what.id;
        const auto fate = runToEnd(what);
        ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
        EXPECT_EQ(fate.exit->standard_output, "[] True\n") << fate.exit->standard_error;
        closeNow(id);
    }
}

TEST_P(WarmProcessRuntimeTest, EachHasATableOfConnectionsOfItsOwn) {
    if (!fs::exists("/proc/sys/net/ipv4/tcp_child_ehash_entries")) GTEST_SKIP() << "Linux 6.1";
    const auto what = spec("print(open('/proc/sys/net/ipv4/tcp_ehash_entries').read())");
    const auto id = what.id;
    const auto fate = runToEnd(what);
    ASSERT_TRUE(fate.exit) << (fate.error ? fate.error->message : "timeout");
    // The host's would be told as a negative number.
    EXPECT_EQ(fate.exit->standard_output, "256\n\n") << fate.exit->standard_error;
    closeNow(id);
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

/// What is expected is made before it is asked for, and the first that asks waits for it.
class ExpectingProcessRuntimeTest : public WarmProcessRuntimeTest {
  protected:
    WarmPool warm() const override { return {0, 600'000}; }
    void makeTemplate() override { addTemplateModule(); }
};

TEST_P(ExpectingProcessRuntimeTest, TheFirstOfAnImageIsForkedToo) {
    runtime_->expect("no such image");
    runtime_->expect("host");
    ASSERT_TRUE(eventually([&] { return !allGroups().empty(); }));
    const auto what = spec(kSleep);
    runtime_->start(what, soon(), sink_);
    const auto info = sink_.started(what.id).info;
    ASSERT_TRUE(info);
    const auto group = groupOf(info->name.substr(4));
    EXPECT_TRUE(group.starts_with("stem-")) << group;
    closeNow(what.id);
}

/// An image whose interpreter makes its own template and stems, with nothing of ours: the first
/// stem is a sandbox that never comes up, the second gives the doors of its cgroup to the template,
/// which sees both.
class HostileProcessRuntimeTest : public WarmProcessRuntimeTest {
  protected:
    WarmPool warm() const override { return {0, 600'000}; }
    void makeTemplate() override {
        std::ofstream(dir_ + "/guest/_aegis_template.py") << R"(
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
KINDS = 0x10000000 | 0x20000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000

def stem(fd, first, friend):
    s = socket.socket(fileno=fd)
    _, doors, _, _ = socket.recv_fds(s, 1, 3)
    os.setresuid(-1, -1, 65536)
    for door in doors:
        os.write(door, b'0')
    s.send(b'r')
    s.recv(1 << 18)
    if first:
        s.recv(1)
    else:
        socket.send_fds(friend, [b'x'], doors)
        s.send(b'f' + friend.recv(100))
    os._exit(0)

def serve(fd, rest):
    s = socket.socket(fileno=fd)
    s.recv(1 << 18)
    s.send(b'r')
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    victim = None
    while True:
        _, ends, _, _ = socket.recv_fds(s, 1, 1)
        pidfd = ctypes.c_int(-1)
        how = (ctypes.c_uint64 * 11)(KINDS | 0x1000, ctypes.addressof(pidfd), 0, 0, 17)
        pid = libc.syscall(435, how, ctypes.c_size_t(88))
        if pid == 0:
            stem(ends[0], victim is None, theirs)
        socket.send_fds(s, [b'r'], [pidfd.value])
        if victim is None:
            victim = pid
            continue
        said = []
        for door in socket.recv_fds(mine, 1, 3)[1]:
            for whom in victim, os.getpid():
                try:
                    os.write(door, str(whom).encode())
                    said.append('moved')
                except OSError as e:
                    said.append(str(e.errno))
        mine.send(' '.join(said).encode())
)";
    }
};

TEST_P(HostileProcessRuntimeTest, TheDoorsOfACgroupLetNobodyElseIn) {
    auto tree = os::CgroupTree::open(node_.str());
    if (tree->version2()) GTEST_SKIP() << "version 2 has no doors";
    runtime_->expect("host");
    ASSERT_TRUE(eventually([&] { return !allGroups().empty(); }));
    const auto victim = spec("");
    runtime_->start(victim, soon(), sink_);
    ASSERT_TRUE(eventually([&] { return groups().size() == 1; }));
    const auto own = groups().at(0);
    const auto attacker = spec("");
    const auto fate = runToEnd(attacker);
    ASSERT_TRUE(fate.error);
    EXPECT_NE(fate.error->message.find(": 13 13 13 13 13 13"), std::string::npos)
        << fate.error->message;
    closeNow(attacker.id);
    // Where it was: of the two groups there is the first one, with its process.
    const auto file = "/sys/fs/cgroup/pids/aegis/" + node_.str() + "/" + own + "/cgroup.procs";
    EXPECT_NE(os::readFile(file, 4096).value_or(""), "");
    closeNow(victim.id);
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

INSTANTIATE_TEST_SUITE_P(Sandboxes, ExpectingProcessRuntimeTest, ::testing::Values(true),
                         [](const auto&) { return "Expecting"; });
INSTANTIATE_TEST_SUITE_P(Sandboxes, HostileProcessRuntimeTest, ::testing::Values(true),
                         [](const auto&) { return "Hostile"; });
INSTANTIATE_TEST_SUITE_P(Sandboxes, IdleProcessRuntimeTest, ::testing::Values(true),
                         [](const auto&) { return "Idle"; });
INSTANTIATE_TEST_SUITE_P(Sandboxes, WarmProcessRuntimeTest, ::testing::Values(true),
                         [](const auto&) { return "Warm"; });

}  // namespace
}  // namespace aegis::sandbox
