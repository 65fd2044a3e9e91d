#include <set>

#include "sandbox/process/process_fixture_for_test.h"
#include "text/json.h"

namespace aegis::sandbox {
namespace {

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

}  // namespace
}  // namespace aegis::sandbox
