// Volumes that a manifest mounts by their ids.

#include <fmt/format.h>

#include "volume/manager_fixture_for_test.h"

namespace aegis::volume {
namespace {

class VolumeSourceTest : public VolumeManagerTest {
  protected:
    static agent::Volume source(const VolumeId& id) {
        agent::Volume out{.name = "other", .mount_point = "/other", .size_limit_bytes = 0};
        out.source_volume_id = id.str();
        out.storage_class = agent::StorageClass::kPersistent;
        return out;
    }
    /// One that an execution made, which has ended.
    VolumeId made(const agent::Volume& volume, UtcTime ended) {
        auto execution = newExecution();
        auto attached = attach(execution, {volume});
        EXPECT_TRUE(attached) << attached.error().message;
        EXPECT_TRUE(os::writeFileAtomic(attached->at(0).source + "/kept", "text"));
        EXPECT_TRUE(detach(execution, ended));
        return attached->at(0).id;
    }
    void asAnotherAgent() { agent_ = AgentId::generate(os::systemRandom()); }
};

TEST_F(VolumeSourceTest, anotherAgentMountsIt) {
    const auto owner = agent_;
    const auto id = made(persistent("data", 4 * kMiB), now());
    asAnotherAgent();
    auto execution = newExecution();
    auto attached = attach(execution, {source(id)});
    ASSERT_TRUE(attached) << attached.error().message;
    EXPECT_EQ(attached->at(0).id, id);
    EXPECT_EQ(attached->at(0).name, "other");
    EXPECT_EQ(*os::readFile(attached->at(0).source + "/kept", 100), "text");
    auto record = manager_->get(id);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->agent_id, owner);
    EXPECT_EQ(record->name, "data");
    EXPECT_EQ(record->execution_id, execution);
    EXPECT_EQ(manager_->erase(id).error().code, ErrorCode::kConflict);
    // After a crash the same again.
    restart();
    ASSERT_TRUE(manager_->sweep({execution}, now()));
    auto again = attach(execution, {source(id)});
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->at(0).id, id);
    ASSERT_TRUE(detach(execution, now()));
    EXPECT_TRUE(hasImage(id));
    EXPECT_FALSE(fs::exists(attached->at(0).source));
    agent_ = owner;
    EXPECT_EQ(attach(newExecution(), {persistent("data", 4 * kMiB)})->at(0).id, id);
}

TEST_F(VolumeSourceTest, theTimeToLiveBeginsAnewWithItsLastUser) {
    const auto id = made(volume("workspace", 4 * kMiB, 10'000), UtcTime{1'000});
    EXPECT_EQ(manager_->get(id)->expires_at.ms, 11'000);
    auto execution = newExecution();
    ASSERT_TRUE(attach(execution, {source(id)}));
    EXPECT_EQ(manager_->get(id)->expires_at.ms, 0);
    ASSERT_TRUE(manager_->sweep({execution}, UtcTime{20'000}));
    EXPECT_TRUE(hasImage(id)) << "it would have expired";
    restart();
    ASSERT_TRUE(manager_->sweep({execution}, UtcTime{20'000}));
    EXPECT_TRUE(hasImage(id)) << "also when the daemon was killed meanwhile";
    ASSERT_TRUE(attach(execution, {source(id)}));
    ASSERT_TRUE(detach(execution, UtcTime{30'000}));
    EXPECT_EQ(manager_->get(id)->expires_at.ms, 40'000);
    ASSERT_TRUE(manager_->sweep(noOne(), UtcTime{40'000}));
    EXPECT_FALSE(hasImage(id));
    EXPECT_EQ(attach(newExecution(), {source(id)}).error().code, ErrorCode::kNotFound);
}

TEST_F(VolumeSourceTest, whatIsNotAsTheManifestSaysIsRefused) {
    const auto id = made(persistent("data", 4 * kMiB), now());
    auto refused = [&](const agent::Volume& volume) {
        auto attached = attach(newExecution(), {volume});
        return attached ? std::string() : attached.error().message;
    };
    auto larger = source(id);
    larger.size_limit_bytes = 8 * kMiB;
    EXPECT_EQ(refused(larger), fmt::format("volume other: volume {} has 4Mi, not 8Mi", id.str()));
    EXPECT_EQ(refused(source(VolumeId::generate(os::systemRandom()))),
              "volume other: no such volume");

    auto execution = newExecution();
    auto own = attach(execution, {volume("own", 4 * kMiB)});
    ASSERT_TRUE(own);
    EXPECT_EQ(refused(source(own->at(0).id)),
              fmt::format("volume other: volume {} is deleted with execution {}",
                          own->at(0).id.str(), execution.str()));
    // The same one at two places.
    auto twice = attach(newExecution(), {persistent("data", 4 * kMiB), source(id)});
    EXPECT_EQ(twice.error().code, ErrorCode::kInvalid);
    EXPECT_FALSE(*os::isMountPoint(dir_ + "/mnt/" + id.str()));
    EXPECT_TRUE(hasImage(id));
}

}  // namespace
}  // namespace aegis::volume
