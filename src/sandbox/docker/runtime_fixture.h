#pragma once

#include <unistd.h>

#include <set>
#include <string_view>

#include "sandbox/common/fixture_for_test.h"
#include "sandbox/docker/container_config.h"
#include "sandbox/docker/docker_runtime.h"
#include "sandbox/docker/engine.h"

namespace aegis::sandbox {

/// For tests: the Docker runtime of a node of its own.
class RuntimeFixture : public GuestFixture {
  protected:
    ports::Runtime& runtime() override { return *runtime_; }

    virtual DockerOptions options(const std::string& host) {
        DockerOptions out;
        out.node = node_;
        out.docker_host = host;
        out.guest_dir = dir_ + "/guest";
        out.run_base = dir_ + "/run";
        out.listeners = listeners();
        return out;
    }
    void makeRuntime(const std::string& host) {
        auto made = DockerRuntime::create(options(host), os::systemRandom());
        ASSERT_TRUE(made) << made.error().message;
        runtime_ = std::move(*made);
    }
    std::vector<ContainerSummary> listed() {
        auto listed =
            runtime_->engine().listContainers(std::string(kLabelNode) + "=" + node_.str(), soon());
        EXPECT_TRUE(listed);
        return listed ? *listed : std::vector<ContainerSummary>{};
    }
    std::size_t containers() { return listed().size(); }
    static bool waitFor(const std::function<bool()>& ready) {
        const auto deadline = soon();
        while (!ready()) {
            if (deadline.passed(os::systemClock().boot())) return false;
            os::pauseMs(10);
        }
        return true;
    }
    bool runDirsEmpty() { return emptyOrGone(dir_ + "/run/" + node_.str()); }

    std::unique_ptr<DockerRuntime> runtime_;
};

/// Prints how many processes it could start.
inline constexpr const char* kForks =
    "import os, time\nn = 0\n"
    "try:\n"
    "    for _ in range(100):\n"
    "        if os.fork() == 0: time.sleep(60)\n"
    "        n += 1\n"
    "except OSError: pass\n"
    "print(n, flush=True)\n";

/// The same on the real Docker Engine. Skipped without one (or without the base image), unless
/// AEGIS_TEST_DOCKER=1 makes it a failure.
class DockerFixture : public RuntimeFixture {
  protected:
    void SetUp() override {
        if (const char* image = std::getenv("AEGIS_TEST_IMAGE")) image_ = image;
        if (const auto missing = whatIsMissing(); !missing.empty()) {
            const char* required = std::getenv("AEGIS_TEST_DOCKER");
            if (required != nullptr && std::string_view(required) == "1") FAIL() << missing;
            GTEST_SKIP() << missing;
        }
    }
    void TearDown() override {
        if (!runtime_) return;
        const auto swept = runtime_->sweep({});
        EXPECT_TRUE(swept) << swept.error().message;
        // Since then the next one may have been started ahead, which goes with the runtime.
        for (const auto& left : listed())
            EXPECT_TRUE(left.labels.contains(kLabelWarm)) << left.id;
        makeRuntime("unix:///var/run/docker.sock");
        EXPECT_EQ(containers(), 0U);
        EXPECT_TRUE(runDirsEmpty());
    }
    std::string whatIsMissing() {
        if (::geteuid() != 0) return "these tests need root";
        if (!std::filesystem::exists(dir_ + "/guest/init")) return "guest/init is not built";
        makeRuntime("unix:///var/run/docker.sock");
        if (!runtime_) return "no runtime";
        if (auto there = runtime_->available(); !there) return there.error().message;
        if (auto there = runtime_->checkImage(image_, "Never"); !there)
            return there.error().message + " (" + there.error().hint + ")";
        return {};
    }
};

}  // namespace aegis::sandbox
