#pragma once

#include "sandbox/common/fixture_for_test.h"
#include "sandbox/docker/container_config.h"
#include "sandbox/docker/docker_runtime.h"
#include "sandbox/docker/engine.h"

namespace aegis::sandbox {

/// For tests: the Docker runtime of a node of its own.
class RuntimeFixture : public GuestFixture {
  protected:
    ports::Runtime& runtime() override { return *runtime_; }

    DockerOptions options(const std::string& host) {
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
    std::size_t containers() {
        auto listed =
            runtime_->engine().listContainers(std::string(kLabelNode) + "=" + node_.str(), soon());
        EXPECT_TRUE(listed);
        return listed ? listed->size() : 9999;
    }
    bool runDirsEmpty() { return emptyOrGone(dir_ + "/run/" + node_.str()); }

    std::unique_ptr<DockerRuntime> runtime_;
};

}  // namespace aegis::sandbox
