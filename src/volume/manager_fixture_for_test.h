#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "os/clock.h"
#include "os/files.h"
#include "os/mount.h"
#include "volume/fake_store_for_test.h"
#include "volume/manager.h"

namespace aegis::volume {

namespace fs = std::filesystem;
using ports::AttachedVolume;
inline constexpr std::uint64_t kMiB = 1ULL << 20;

inline std::set<ExecutionId> noOne() { return {}; }

/// A manager on a directory of its own; skips where hard limits cannot be had.
class VolumeManagerTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto pattern = (fs::temp_directory_path() / "aegis-volume-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        base_ = pattern;
        dir_ = base_ + "/" + std::string(150, 'd') + "/volumes";
        restart();
        auto available = manager_->available();
        if (!available) GTEST_SKIP() << "no loop mounts here: " << available.error().message;
    }
    void TearDown() override {
        manager_.reset();
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator(dir_ + "/mnt", ignored))
            ::umount2(entry.path().c_str(), MNT_DETACH);
        EXPECT_TRUE(os::removeTree(base_));
    }
    /// As after kill -9: nothing is remembered but rows, files and mounts.
    void restart(Options options = {}) {
        manager_.reset();
        options.dir = dir_;
        manager_ =
            std::make_unique<VolumeManager>(options, store_, os::systemClock(), os::systemRandom());
    }

    static Deadline soon() { return Deadline::in(os::systemClock().boot(), 30'000); }
    static UtcTime now() { return os::systemClock().utc(); }
    static ExecutionId newExecution() { return ExecutionId::generate(os::systemRandom()); }
    static agent::Volume volume(std::string name, std::uint64_t bytes, std::int64_t ttl_ms = 0) {
        return {
            .name = name, .mount_point = "/" + name, .size_limit_bytes = bytes, .ttl_ms = ttl_ms};
    }
    static agent::Volume persistent(std::string name, std::uint64_t bytes) {
        auto made = volume(std::move(name), bytes);
        made.storage_class = agent::StorageClass::kPersistent;
        made.ttl_ms.reset();
        return made;
    }

    Result<std::vector<AttachedVolume>> attach(const ExecutionId& execution,
                                               std::vector<agent::Volume> volumes) {
        std::promise<Result<std::vector<AttachedVolume>>> result;
        manager_->attach({.execution = execution, .agent = agent_, .volumes = std::move(volumes)},
                         soon(), [&](auto r) { result.set_value(std::move(r)); });
        return result.get_future().get();
    }
    Status detach(const ExecutionId& execution, UtcTime ended_at) {
        std::promise<Status> result;
        manager_->detach(execution, ended_at, soon(), [&](auto r) { result.set_value(r); });
        return result.get_future().get();
    }
    bool hasImage(const VolumeId& id) const {
        return fs::exists(dir_ + "/images/" + id.str() + ".img");
    }
    static ino_t inode(const std::string& path) {
        struct stat st{};
        EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
        return st.st_ino;
    }
    bool waitFor(const std::function<bool()>& ready) {
        const auto deadline = soon();
        while (!ready()) {
            if (deadline.passed(os::systemClock().boot())) return false;
            os::pauseMs(2);
        }
        return true;
    }
    static std::size_t filesIn(const std::string& path) {
        return static_cast<std::size_t>(
            std::distance(fs::directory_iterator(path), fs::directory_iterator{}));
    }

    std::string base_, dir_;
    FakeVolumeStore store_;
    AgentId agent_ = AgentId::generate(os::systemRandom());
    std::unique_ptr<VolumeManager> manager_;
};

}  // namespace aegis::volume
