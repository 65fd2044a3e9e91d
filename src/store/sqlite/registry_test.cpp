#include <gtest/gtest.h>

#include "store/sqlite/store_test_util.h"

namespace aegis::store {
namespace {

using ports::AgentStatus;
using What = ports::DeployResult::What;

class RegistryTest : public ::testing::Test {
  protected:
    ports::Registry& registry() { return store_->registry(); }
    ports::NewRevision manifest(const std::string& name, const std::string& yaml) {
        return {name, "1.0.0", "does", {{"team", name}}, {{"note", "é"}}, yaml, "{\"r\":1}"};
    }
    ports::DeployResult deploy(const std::string& name, const std::string& yaml) {
        auto result = registry().deploy({manifest(name, yaml)});
        EXPECT_TRUE(result);
        return result ? result->at(0) : ports::DeployResult{};
    }
    std::size_t events() { return store_->journal().nodeEvents({.limit = 1000})->events.size(); }

    TempDir dir_;
    std::unique_ptr<Store> store_ = openStore(dir_.path());
};

TEST_F(RegistryTest, DeployCreatesUpdatesOrChangesNothing) {
    auto created = deploy("coder", "one");
    EXPECT_EQ(created.what, What::kCreated);
    EXPECT_EQ(created.record.revision, 1);
    EXPECT_EQ(created.record.labels.at("team"), "coder");
    EXPECT_EQ(deploy("coder", "one").what, What::kUnchanged);
    auto updated = deploy("coder", "two");
    EXPECT_EQ(updated.what, What::kUpdated);
    EXPECT_EQ(updated.record.id, created.record.id);
    EXPECT_EQ(updated.record.revision, 2);
    EXPECT_EQ(events(), 2U);
    store_.reset();
    store_ = openStore(dir_.path());
    auto record = registry().byName("coder");
    ASSERT_TRUE(record);
    EXPECT_EQ(record->manifest_yaml, "two");
    EXPECT_EQ(record->annotations.at("note"), "é");
    EXPECT_EQ(registry().revision(record->id, 1)->manifest_yaml, "one");
    EXPECT_EQ(codeOf(registry().revision(record->id, 3)), code(ErrorCode::kNotFound));
    auto revisions = registry().revisions(record->id);
    ASSERT_TRUE(revisions);
    ASSERT_EQ(revisions->size(), 2U);
    EXPECT_EQ((*revisions)[0].revision, 2);
    EXPECT_EQ(codeOf(registry().revisions(AgentId())), code(ErrorCode::kNotFound));
}

TEST_F(RegistryTest, SeveralAreDeployedTogether) {
    auto result = registry().deploy({manifest("a", "1"), manifest("b", "1"), manifest("a", "2")});
    ASSERT_TRUE(result);
    EXPECT_EQ((*result)[1].what, What::kCreated);
    EXPECT_EQ((*result)[2].what, What::kUpdated);
    EXPECT_EQ((*result)[2].record.id, (*result)[0].record.id);
}

TEST_F(RegistryTest, StatusIsIdempotentAndArchivedFinal) {
    auto id = deploy("coder", "one").record.id;
    EXPECT_EQ(registry().setStatus(id, AgentStatus::kDeployed)->status, AgentStatus::kDeployed);
    EXPECT_EQ(events(), 1U);
    EXPECT_EQ(registry().setStatus(id, AgentStatus::kPaused)->status, AgentStatus::kPaused);
    EXPECT_EQ(registry().setStatus(id, AgentStatus::kPaused)->status, AgentStatus::kPaused);
    EXPECT_EQ(events(), 2U);
    auto updated = deploy("coder", "two");
    EXPECT_EQ(updated.record.status, AgentStatus::kPaused) << "a deploy keeps it paused";
    EXPECT_EQ(registry().setStatus(id, AgentStatus::kArchived)->status, AgentStatus::kArchived);
    for (auto status : {AgentStatus::kDeployed, AgentStatus::kPaused, AgentStatus::kArchived})
        EXPECT_EQ(codeOf(registry().setStatus(id, status)), code(ErrorCode::kConflict));
    EXPECT_EQ(codeOf(registry().byName("coder")), code(ErrorCode::kNotFound));
    EXPECT_EQ(registry().byId(id)->status, AgentStatus::kArchived);
    auto fresh = deploy("coder", "two");
    EXPECT_EQ(fresh.what, What::kCreated);
    EXPECT_NE(fresh.record.id, id);
    EXPECT_EQ(
        codeOf(registry().setStatus(AgentId::generate(os::systemRandom()), AgentStatus::kPaused)),
        code(ErrorCode::kNotFound));
}

TEST_F(RegistryTest, ListsByNameInPages) {
    for (const char* name : {"delta", "alpha", "echo", "bravo", "charlie"})
        deploy(name, name);
    auto id = registry().byName("bravo")->id;
    ASSERT_TRUE(registry().setStatus(id, AgentStatus::kArchived));
    ASSERT_TRUE(registry().setStatus(registry().byName("echo")->id, AgentStatus::kPaused));
    auto names = [&](ports::AgentFilter filter) {
        std::string out;
        do {
            auto page = registry().list(filter);
            EXPECT_TRUE(page);
            for (const auto& r : page->records) {
                out += r.name + " ";
                EXPECT_EQ(r.manifest_yaml, "");
            }
            filter.cursor = page->next_cursor;
        } while (!filter.cursor.empty());
        return out;
    };
    EXPECT_EQ(names({}), "alpha charlie delta echo ");
    EXPECT_EQ(names({.limit = 1}), "alpha charlie delta echo ");
    EXPECT_EQ(names({.all = true, .limit = 2}), "alpha bravo charlie delta echo ");
    EXPECT_EQ(names({.status = AgentStatus::kArchived}), "bravo ");
    EXPECT_EQ(names({.status = AgentStatus::kPaused}), "echo ");
    EXPECT_EQ(names({.labels = {{"team", "delta"}}}), "delta ");
    EXPECT_EQ(codeOf(registry().list({.cursor = "x"})), code(ErrorCode::kInvalid));
    auto found = registry().byPrefix(id.str().substr(0, 8), 5);
    ASSERT_TRUE(found);
    ASSERT_EQ(found->size(), 1U);
    EXPECT_EQ((*found)[0].name, "bravo");
}

TEST(VolumeStore, KeepsRows) {
    TempDir dir;
    auto store = openStore(dir.path());
    ports::VolumeRecord v;
    v.id = VolumeId::generate(os::systemRandom());
    v.agent_id = AgentId::generate(os::systemRandom());
    v.name = "workspace";
    v.storage_class = "persistent";
    v.mount_point = "/workspace";
    v.size_limit_bytes = 1ULL << 40;
    v.ttl_ms = 7;
    v.created_at = {5};
    ASSERT_TRUE(store->volumes().put(v));
    v.mounted = true;
    v.execution_id = newId();
    v.expires_at = {99};
    ASSERT_TRUE(store->volumes().put(v));
    store.reset();
    store = openStore(dir.path());
    auto got = store->volumes().get(v.id);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->execution_id, v.execution_id);
    EXPECT_EQ(got->size_limit_bytes, v.size_limit_bytes);
    EXPECT_TRUE(got->mounted);
    EXPECT_EQ(got->expires_at.ms, 99);
    EXPECT_EQ(store->volumes().list()->size(), 1U);
    EXPECT_EQ((*store->volumes().persistent(v.agent_id, "workspace"))->id, v.id);
    EXPECT_FALSE(store->volumes().persistent(v.agent_id, "other")->has_value());
    EXPECT_TRUE(store->volumes().erase(v.id));
    EXPECT_TRUE(store->volumes().erase(v.id));
    EXPECT_EQ(codeOf(store->volumes().get(v.id)), code(ErrorCode::kNotFound));
}

}  // namespace
}  // namespace aegis::store
