#pragma once

#include <atomic>
#include <map>
#include <mutex>

#include "ports/volumes.h"

namespace aegis::volume {

/// VolumeStore in memory; can be told to refuse writes.
class FakeVolumeStore : public ports::VolumeStore {
  public:
    Status put(const ports::VolumeRecord& record) override {
        std::lock_guard lock(mutex_);
        ++puts;
        if (refuse) return {ErrorCode::kStorageFull, "the store is full"};
        rows_[record.id] = record;
        return {};
    }
    Result<ports::VolumeRecord> get(const VolumeId& id) override {
        std::lock_guard lock(mutex_);
        auto at = rows_.find(id);
        if (at == rows_.end()) return {ErrorCode::kNotFound, "no such volume"};
        return at->second;
    }
    Result<std::vector<ports::VolumeRecord>> list() override {
        std::lock_guard lock(mutex_);
        std::vector<ports::VolumeRecord> all;
        for (const auto& [id, record] : rows_)
            all.push_back(record);
        return all;
    }
    Result<std::optional<ports::VolumeRecord>> persistent(const AgentId& agent,
                                                          const std::string& name) override {
        std::lock_guard lock(mutex_);
        for (const auto& [id, record] : rows_)
            if (record.storage_class == "persistent" && record.agent_id == agent &&
                record.name == name)
                return std::optional(record);
        return std::nullopt;
    }
    Status erase(const VolumeId& id) override {
        std::lock_guard lock(mutex_);
        rows_.erase(id);
        return {};
    }

    std::atomic<bool> refuse = false;
    std::atomic<int> puts = 0;

  private:
    std::mutex mutex_;
    std::map<VolumeId, ports::VolumeRecord> rows_;
};

}  // namespace aegis::volume
