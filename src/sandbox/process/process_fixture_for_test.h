#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "os/cgroup.h"
#include "os/files.h"
#include "sandbox/common/fixture_for_test.h"
#include "sandbox/process/process_runtime.h"

namespace aegis::sandbox {

namespace fs = std::filesystem;

inline const std::string kSleep = "import time; time.sleep(600)";

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
        EXPECT_FALSE(fs::exists(hierarchyOf("memory") + "/aegis/" + node_.str()));
    }
    static bool isVersion2() { return fs::exists("/sys/fs/cgroup/cgroup.controllers"); }
    /// Where a controller's groups are.
    static std::string hierarchyOf(const std::string& controller) {
        return isVersion2() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
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
        for (int i = 0; i < 500 * patience(); ++i) {
            if (ready()) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return false;
    }

    HostImage images_;
    std::unique_ptr<ProcessRuntime> runtime_;
};

}  // namespace aegis::sandbox
