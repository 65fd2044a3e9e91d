#include <gtest/gtest.h>

#include "ports/volume_sources.h"
#include "runner/fake_ports_for_test.h"

namespace aegis::runner {
namespace {

class OneVolume : public FakeVolumes {
  public:
    Result<ports::VolumeRecord> get(const VolumeId& id) override {
        if (broken) return {ErrorCode::kInternal, "cannot be read"};
        if (id != record.id) return {ErrorCode::kNotFound, "no such volume"};
        return record;
    }
    ports::VolumeRecord record;
    bool broken = false;
};

class Locks : public testing::Test {
  protected:
    Locks() {
        volumes_.record.id = VolumeId::generate(os::systemRandom());
        volumes_.record.agent_id = AgentId::generate(os::systemRandom());
        volumes_.record.name = "data";
    }
    static agent::Volume own(agent::StorageClass storage_class, std::int64_t ttl_ms) {
        agent::Volume out{.name = "data", .storage_class = storage_class};
        if (storage_class == agent::StorageClass::kEphemeral) out.ttl_ms = ttl_ms;
        return out;
    }
    static agent::Volume source(const VolumeId& id) {
        agent::Volume out{.name = "theirs"};
        out.source_volume_id = id.str();
        return out;
    }
    Result<std::vector<std::string>> locks(const AgentId& agent, const ExecutionId& execution,
                                           agent::Volume volume) {
        agent::Manifest manifest;
        manifest.volumes = {std::move(volume)};
        ExecutionContext context;
        context.id = execution;
        context.agent_id = agent;
        context.manifest = std::make_shared<const agent::Manifest>(std::move(manifest));
        return locksOf(context, volumes_);
    }

    using Names = std::vector<std::string>;
    OneVolume volumes_;
    const AgentId other_ = AgentId::generate(os::systemRandom());
    const ExecutionId first_ = ExecutionId::generate(os::systemRandom());
    const ExecutionId second_ = ExecutionId::generate(os::systemRandom());
};

TEST_F(Locks, ofAPersistentVolumeAreTheSameForWhoeverMountsIt) {
    using enum agent::StorageClass;
    volumes_.record.storage_class = "persistent";
    auto owners = locks(volumes_.record.agent_id, first_, own(kPersistent, 0));
    ASSERT_TRUE(owners);
    EXPECT_EQ(owners->size(), 1U);
    EXPECT_EQ(*locks(other_, second_, source(volumes_.record.id)), *owners);
    EXPECT_NE(*locks(other_, second_, own(kPersistent, 0)), *owners);
}

TEST_F(Locks, ofAnEphemeralVolumeAreThoseOfTheExecutionThatMadeIt) {
    using enum agent::StorageClass;
    volumes_.record.storage_class = "ephemeral";
    volumes_.record.id = ports::ephemeralVolume(first_, "data");
    volumes_.record.execution_id = second_;  // its newest user
    auto owners = locks(volumes_.record.agent_id, first_, own(kEphemeral, 1));
    ASSERT_TRUE(owners);
    EXPECT_EQ(owners->size(), 1U);
    EXPECT_EQ(*locks(other_, second_, source(volumes_.record.id)), *owners);
    EXPECT_EQ(*locks(other_, first_, own(kEphemeral, 0)), Names{}) << "nobody else can have it";
}

TEST_F(Locks, readersAndWhatCannotBeMountedTakeNone) {
    volumes_.record.storage_class = "persistent";
    auto reader = source(volumes_.record.id);
    reader.access_mode = agent::AccessMode::kReadOnly;
    EXPECT_EQ(*locks(other_, first_, reader), Names{});
    EXPECT_EQ(*locks(other_, first_, source(VolumeId::generate(os::systemRandom()))), Names{});
    volumes_.broken = true;
    EXPECT_EQ(locks(other_, first_, source(volumes_.record.id)).error().code, ErrorCode::kInternal)
        << "nobody writes without a lock because it could not be looked up";
}

}  // namespace
}  // namespace aegis::runner
